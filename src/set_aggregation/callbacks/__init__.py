"""Callbacks of training, one subject a file."""

from set_aggregation.callbacks.best_checkpoint import BestCheckpoint
from set_aggregation.callbacks.evaluation import AccuracyPerSize, Misclassification, Misclassifications
from set_aggregation.callbacks.learning_curves import LearningCurves
from set_aggregation.callbacks.non_finite import NonFinite
from set_aggregation.callbacks.progress import ProgressBar, Throughput
from set_aggregation.callbacks.recovery import Recovery

__all__ = [
    "AccuracyPerSize",
    "BestCheckpoint",
    "LearningCurves",
    "Misclassification",
    "Misclassifications",
    "NonFinite",
    "ProgressBar",
    "Recovery",
    "Throughput",
]
