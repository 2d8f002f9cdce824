"""The figure of the learning curves, updated during training."""

import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from set_aggregation.callbacks.learning_curves import LearningCurves
from set_aggregation.runs.files import atomic_write, warn

_SHARE = 0.02  # of the training time


class PlotCurves(Callback):
    """Plot the learning curves after an epoch, for at most 2 % of the time, and at the end.

    The file, a PNG, is replaced atomically. If it cannot be written, training continues with one warning.
    """

    def __init__(self, file: Path, curves: LearningCurves) -> None:
        self.file = file
        self.curves = curves  # before this callback in the list
        self.seconds = 0.0  # spent on plotting
        self._wait_until = 0.0
        self._num_plotted = 0
        self._failed = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot, unless the last plot is too recent."""
        if trainer.is_global_zero and time.perf_counter() >= self._wait_until:
            self._plot()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the last epochs."""
        if trainer.is_global_zero:
            self._plot()

    def _plot(self) -> None:
        history = self.curves.history
        if len(history) == self._num_plotted or self._failed or not self.file.parent.is_dir():  # a dry run has none
            return
        started = time.perf_counter()
        from set_aggregation.reports.curves import run_figure  # matplotlib takes a second

        try:
            with atomic_write(self.file) as temporary:
                run_figure(history).savefig(temporary, format="png", dpi=100)
        except OSError as error:
            warn(f"got {self.file}, which cannot be written ({error}); training continues without it")
            self._failed = True
        self._num_plotted = len(history)
        ended = time.perf_counter()
        self.seconds += ended - started
        self._wait_until = ended + (ended - started) / _SHARE
