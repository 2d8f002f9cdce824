"""A run on disk: folder, checkpoints, resume, signals, random state, results."""
