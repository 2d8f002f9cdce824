"""The progress bar, and the images per second that it shows."""

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from rich.progress import ProgressColumn
from torch import Tensor

from set_aggregation.runs._lightning import ProgressBarFromOne


class Throughput(Callback):
    """Measure training images per second over all ranks, without validation, start-up and checkpoints.

    Logs ``throughput/images_per_second`` each epoch to every logger except the CSV logger, whose file is the same for
    each run of a configuration and seed.
    """

    def __init__(self) -> None:
        self.images = 0  # so far, over all ranks
        self.seconds = 0.0  # their time
        self._last = 0.0  # end of the last batch
        self._epoch_images, self._epoch_seconds = 0, 0.0

    @property
    def images_per_second(self) -> float:
        """Mean since the start of training."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch."""
        self._last = time.perf_counter()
        self._epoch_images, self._epoch_seconds = self.images, self.seconds

    on_train_start = on_train_epoch_start  # an epoch that is resumed does not start again

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch and the time since the previous one."""
        now = time.perf_counter()
        self.seconds += now - self._last
        self.images += len(batch[1]) * trainer.world_size
        self._last = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock, so that validation does not count."""
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the speed of the epoch."""
        seconds = self.seconds - self._epoch_seconds
        if seconds > 0:
            speed = (self.images - self._epoch_images) / seconds
            metrics = {"throughput/images_per_second": speed, "epoch": trainer.current_epoch}
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):
                    logger.log_metrics(metrics, trainer.global_step)


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
