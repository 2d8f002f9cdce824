"""How many images a second the training goes through."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger


class Throughput(Callback):
    """Measures training images per second over all ranks: without validation, start-up and checkpoints.

    Logs ``throughput/images_per_second`` each epoch to every logger but the CSV logger, whose file holds what a run
    with the same configuration and seed gives again.

    Attributes:
        images: images trained on so far, over all ranks.
        seconds: time that took.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._last: float | None = None  # when the last batch ended
        self._epoch_images, self._epoch_seconds = 0, 0.0

    @property
    def images_per_second(self) -> float:
        """The mean since the start of training."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of an epoch that goes on where it was interrupted, and does not start again."""
        self._last = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._last = time.perf_counter()
        self._epoch_images, self._epoch_seconds = self.images, self.seconds

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts a batch, and the time since the one before it."""
        now = time.perf_counter()
        if self._last is not None:
            self.seconds += now - self._last
            self.images += len(batch[1]) * trainer.world_size
        self._last = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The time of validation is not counted."""
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the speed of the epoch."""
        seconds = self.seconds - self._epoch_seconds
        if seconds > 0:
            speed = (self.images - self._epoch_images) / seconds
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):
                    logger.log_metrics(
                        {"throughput/images_per_second": speed, "epoch": trainer.current_epoch}, trainer.global_step
                    )
