"""Images per second of the training."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger


class Throughput(Callback):
    """Measure training images per second over all ranks, without validation, start-up and checkpoints.

    Logs ``throughput/images_per_second`` each epoch to every logger except the CSV logger, whose file is the same for
    each run of a configuration and seed.
    """

    def __init__(self) -> None:
        self.images = 0  # so far, over all ranks
        self.seconds = 0.0  # their time
        self._last: float | None = None  # end of the last batch
        self._epoch_images, self._epoch_seconds = 0, 0.0

    @property
    def images_per_second(self) -> float:
        """Mean since the start of training."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; an epoch that is resumed does not start again."""
        self._last = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch."""
        self._last = time.perf_counter()
        self._epoch_images, self._epoch_seconds = self.images, self.seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch and the time since the previous one."""
        now = time.perf_counter()
        if self._last is not None:
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
