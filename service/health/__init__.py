"""`/health` and `/metrics`: whether the service lives, can work, and how much it did."""
