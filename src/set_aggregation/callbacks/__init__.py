"""Callbacks of training, one subject a file."""

from set_aggregation.callbacks.accuracy_per_size import AccuracyPerSize
from set_aggregation.callbacks.best_checkpoint import BestCheckpoint
from set_aggregation.callbacks.learning_curves import LearningCurves
from set_aggregation.callbacks.misclassifications import Misclassification, Misclassifications
from set_aggregation.callbacks.non_finite import NonFinite
from set_aggregation.callbacks.progress import ProgressBar
from set_aggregation.callbacks.recovery import Recovery
from set_aggregation.callbacks.throughput import Throughput

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
