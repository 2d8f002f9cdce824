"""The learning curves as a picture that is drawn again as training goes on."""

import os
import time
import warnings
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from set_aggregation.callbacks.learning_curves import LearningCurves

_SHARE = 0.02  # of the time of training that drawing may take


class CurvesPicture(Callback):
    """Draws the learning curves into a file after each epoch, but not so often that it takes more than 2 % of the
    time, and at the end.

    A viewer always finds a whole picture. Where it cannot be written, a warning says so once and training goes on.

    Args:
        file: the picture, a PNG.
        curves: the callback that measures them; in the list of callbacks before this one.
        title: what stands above the curves.

    Attributes:
        seconds: time that drawing took.
    """

    def __init__(self, file: Path, curves: LearningCurves, title: str = "") -> None:
        self.file = file
        self.curves = curves
        self.title = title
        self.seconds = 0.0
        self._wait_until = 0.0
        self._drawn = 0  # epochs in the picture
        self._failed = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws, unless it just has."""
        if trainer.is_global_zero and time.perf_counter() >= self._wait_until:
            self._draw()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws what came since."""
        if trainer.is_global_zero:
            self._draw()

    def _draw(self) -> None:
        history = self.curves.history
        if len(history) == self._drawn or self._failed or not self.file.parent.is_dir():  # a rehearsal has no folder
            return
        started = time.perf_counter()
        from set_aggregation.reports.run_figure import run_figure  # matplotlib takes a second

        unfinished = self.file.with_suffix(".tmp")
        try:
            run_figure(history, self.title).savefig(unfinished, format="png", dpi=100)
            os.replace(unfinished, self.file)  # noqa: PTH105
        except OSError as error:
            # Of no line of the code, which would be shown too.
            warnings.warn(f"got {self.file}, which cannot be written ({error}): training goes on", stacklevel=1000)
            self._failed = True
        self._drawn = len(history)
        ended = time.perf_counter()
        self.seconds += ended - started
        self._wait_until = ended + (ended - started) / _SHARE
