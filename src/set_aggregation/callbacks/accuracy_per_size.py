"""Accuracy at each image size."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class AccuracyPerSize(Callback):
    """Log ``val/accuracy/16x16`` and ``test/accuracy/16x16`` for each image size of a data module.

    Exact for any distribution of the images over ranks. A split with one size logs nothing; sizes that
    ``Trainer(limit_val_batches)`` excludes are left out.
    """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the counts."""
        self._split = "test" if trainer.testing else "val"
        sizes = getattr(getattr(trainer, "datamodule", None), "image_sizes", {}).get(self._split, [])
        self._numbers = {size: number for number, size in enumerate(sizes)} if len(sizes) > 1 else {}
        # Correct predictions, and images of each size.
        self._counts = torch.zeros(2, len(sizes), dtype=torch.long, device=pl_module.device)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Count a batch."""
        images, labels = batch
        if self._numbers:
            number = self._numbers[images.shape[2], images.shape[3]]
            self._counts[0, number] += (outputs.argmax(1) == labels).sum()
            self._counts[1, number] += len(labels)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the accuracies."""
        if not self._numbers:
            return
        correct, num = trainer.strategy.reduce(self._counts, reduce_op="sum").tolist()
        for (h, w), i in self._numbers.items():
            if num[i]:
                # The value is the same on all ranks; the maximum keeps it, a mean would round it.
                pl_module.log(f"{self._split}/accuracy/{h}x{w}", correct[i] / num[i], sync_dist=True, reduce_fx="max")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
