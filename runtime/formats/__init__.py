"""Readers of model files: each gives one `Checkpoint`."""
