"""What happens around training: one subject a file."""

from set_aggregation.callbacks.accuracy_per_size import AccuracyPerSize
from set_aggregation.callbacks.learning_curves import LearningCurves
from set_aggregation.callbacks.misclassifications import Mistake, Mistakes
from set_aggregation.callbacks.non_finite import NonFinite
from set_aggregation.callbacks.plot_curves import CurvesPicture
from set_aggregation.callbacks.progress import ProgressBar
from set_aggregation.callbacks.recovery import Recovery
from set_aggregation.callbacks.throughput import Throughput
from set_aggregation.runs.directory import RunDirectory

__all__ = [
    "AccuracyPerSize",
    "CurvesPicture",
    "LearningCurves",
    "Mistake",
    "Mistakes",
    "NonFinite",
    "ProgressBar",
    "Recovery",
    "RunDirectory",
    "Throughput",
]
