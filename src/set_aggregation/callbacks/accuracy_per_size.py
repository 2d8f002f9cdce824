"""Accuracy at each image size."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class AccuracyPerSize(Callback):
    """Log ``val/accuracy/16x16`` and ``test/accuracy/16x16`` for each image size of a data module.

    Exact for any distribution of the images over ranks. A split with one size logs nothing; sizes that
    ``Trainer(limit_val_batches)`` excludes are left out.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        self._counts = torch.zeros(2, 0)  # correct predictions and images of each size

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the counts."""
        self._reset(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the counts."""
        self._reset(trainer, pl_module, "test")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        self._count(outputs, *batch)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the accuracies."""
        self._log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the accuracies."""
        self._log(trainer, pl_module, "test")

    def _reset(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        sizes = getattr(getattr(trainer, "datamodule", None), "image_sizes", {}).get(split, [])
        self._numbers = {size: number for number, size in enumerate(sizes)} if len(sizes) > 1 else {}
        self._counts = torch.zeros(2, len(sizes), dtype=torch.long, device=pl_module.device)

    def _count(self, logits: Tensor, images: Tensor, labels: Tensor) -> None:
        if self._numbers:
            number = self._numbers[images.shape[2], images.shape[3]]
            self._counts[0, number] += (logits.argmax(1) == labels).sum()
            self._counts[1, number] += len(labels)

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not self._numbers:
            return
        correct, num = trainer.strategy.reduce(self._counts, reduce_op="sum").tolist()
        for (h, w), i in self._numbers.items():
            if num[i]:
                # The value is the same on all ranks; the maximum keeps it, a mean would round it.
                pl_module.log(f"{split}/accuracy/{h}x{w}", correct[i] / num[i], sync_dist=True, reduce_fx="max")
