"""The progress bar."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from rich.progress import ProgressColumn
from torch import Tensor

from set_aggregation.callbacks.throughput import Throughput
from set_aggregation.runs._lightning import ProgressBarFromOne


class ProgressBar(ProgressBarFromOne):
    """Lightning's rich progress bar with mean loss and accuracy of the epoch, and images per second.

    ``train/loss`` and ``train/accuracy`` are means over the images of the epoch so far, from what the training step
    returns: ``{"loss": ..., "accuracy": ...}``. The bar is updated every ``seconds`` at most, because that waits for
    the device. If the output is no terminal, as in a job of a cluster, one line per epoch is written instead.
    """

    def __init__(self, throughput: Throughput, seconds: float = 0.5) -> None:
        super().__init__()
        self.throughput = throughput
        self.seconds = seconds
        self._updated_at = 0.0
        self._sums: dict[str, Tensor] = {}  # on the device
        self._num_images = 0
        self._validated_at = -1

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Return Lightning's columns except the last one, the steps per second."""
        columns: list[ProgressColumn] = super().configure_columns(trainer)[:-1]
        return columns

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the metrics of the epoch and the images per second, without the version number."""
        metrics = {**super().get_metrics(trainer, pl_module), **self._means()}
        metrics.pop("v_num", None)
        if trainer.training:
            metrics["images/s"] = f"{self.throughput.images_per_second:,.0f}"
        return metrics

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose between the bar and the lines."""
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the means."""
        self._sums, self._num_images = {}, 0
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a batch to the means, and update the bar unless it was updated recently."""
        num = len(batch[1])
        self._num_images += num
        for name, value in (outputs or {}).items():
            # Lightning divides the loss by the number of accumulated batches.
            weight = num * (trainer.accumulate_grad_batches if name == "loss" else 1)
            self._sums[name] = value * weight + self._sums.get(name, 0)
        now = time.monotonic()
        if trainer.is_last_batch or now - self._updated_at >= self.seconds:
            self._updated_at = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the step of the validation."""
        self._validated_at = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the line of the epoch, with the validation only if this epoch had one."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero and not sys.stdout.isatty():
            values = {**trainer.progress_bar_metrics, **self._means()}
            if self._validated_at != trainer.global_step:
                values = {name: value for name, value in values.items() if not name.startswith("val/")}
            metrics = "  ".join(f"{name} {value:.4f}" for name, value in sorted(values.items()))
            speed = f"{self.throughput.images_per_second:,.0f} images/s"
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {metrics}  {speed}", flush=True)  # noqa: T201

    def _means(self) -> dict[str, float]:
        """Return the means of the epoch so far; waits for the device."""
        return {f"train/{name}": float(total) / self._num_images for name, total in self._sums.items()}
