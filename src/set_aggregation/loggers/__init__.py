"""Loggers for runs that may be interrupted: ``metrics.csv`` and W&B."""

from set_aggregation.loggers.csv import MetricsFile
from set_aggregation.loggers.wandb import SafeWandbLogger

__all__ = ["MetricsFile", "SafeWandbLogger"]
