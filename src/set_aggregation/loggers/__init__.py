"""Loggers: CSV and W&B."""
