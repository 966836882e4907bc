"""`/checkpoints`: which networks are installed, and which one is in use."""
