"""Data, rendered faces, optimisation and evaluation that turn the networks of `model` into versioned checkpoints."""
