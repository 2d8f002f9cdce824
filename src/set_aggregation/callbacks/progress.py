"""The progress bar."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import ProgressColumn
from torch import Tensor

from set_aggregation.callbacks.throughput import Throughput

_SECONDS = 0.5  # between two looks at the numbers


class ProgressBar(RichProgressBar):
    """Lightning's rich progress bar with images per second in place of steps per second.

    The bar moves twice a second at most: to show loss and accuracy, the program has to wait for the device.

    Where the output is no terminal (a log file, a cluster's job), one line per epoch is written instead.

    Loss and accuracy are those of the last step, which gives them back by name: ``{"loss": ..., "accuracy": ...}``.

    Args:
        throughput: the callback that measures the images per second.
    """

    def __init__(self, throughput: Throughput) -> None:
        super().__init__()
        self.throughput = throughput
        self._shown_at = 0.0
        self._outputs: dict[str, Tensor] = {}

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """All of Lightning's columns but the last, the speed in steps."""
        columns: list[ProgressColumn] = super().configure_columns(trainer)[:-1]
        return columns

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Loss and accuracy, images per second; not the version number, which is the folder's name."""
        metrics = {**super().get_metrics(trainer, pl_module), **self._of_last_batch()}
        metrics.pop("v_num", None)
        if trainer.training:
            metrics["images/s"] = f"{self.throughput.images_per_second:,.0f}"
        return metrics

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Chooses between the bar and the lines."""
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar, if it has not just been."""
        self._outputs = outputs or {}
        now = time.monotonic()
        if trainer.is_last_batch or now - self._shown_at >= _SECONDS:
            self._shown_at = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the line where there is no terminal."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero and not sys.stdout.isatty():
            values = {**trainer.progress_bar_metrics, **self._of_last_batch()}
            metrics = "  ".join(f"{name} {value:.4f}" for name, value in sorted(values.items()))
            print(  # noqa: T201
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {metrics}  "
                f"{self.throughput.images_per_second:,.0f} images/s",
                flush=True,
            )

    def _of_last_batch(self) -> dict[str, float]:
        """What the last step of training has given back, which lies on the device."""
        return {f"train/{name}": float(value) for name, value in self._outputs.items()}
