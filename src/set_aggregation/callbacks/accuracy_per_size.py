"""Accuracy at each image size."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class AccuracyPerSize(Callback):
    """Logs ``val/accuracy/16x16`` and ``test/accuracy/16x16`` for each size of the images of a data module.

    Exact however the images are dealt out to ranks. Where all images of a part have one size, nothing is logged; sizes
    that ``Trainer(limit_val_batches)`` kept from being seen are left out.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        self._counts = torch.zeros(2, 0)  # right answers and images of each size

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count."""
        self._begin(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count."""
        self._begin(trainer, pl_module, "test")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts a batch."""
        self._count(outputs, *batch)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the accuracies."""
        self._log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the accuracies."""
        self._log(trainer, pl_module, "test")

    def _begin(self, trainer: Trainer, pl_module: LightningModule, part: str) -> None:
        sizes = getattr(getattr(trainer, "datamodule", None), "image_sizes", {}).get(part, [])
        self._numbers = {size: number for number, size in enumerate(sizes)} if len(sizes) > 1 else {}
        self._counts = torch.zeros(2, len(sizes), dtype=torch.long, device=pl_module.device)

    def _count(self, logits: Tensor, images: Tensor, labels: Tensor) -> None:
        if self._numbers:
            number = self._numbers[images.shape[2], images.shape[3]]
            self._counts[0, number] += (logits.argmax(1) == labels).sum()
            self._counts[1, number] += len(labels)

    def _log(self, trainer: Trainer, pl_module: LightningModule, part: str) -> None:
        if not self._numbers:
            return
        right, num = trainer.strategy.reduce(self._counts, reduce_op="sum").tolist()
        for (h, w), i in self._numbers.items():
            if num[i]:
                # All ranks hold the same number; the largest of them is that number, a mean of them is rounded.
                pl_module.log(f"{part}/accuracy/{h}x{w}", right[i] / num[i], sync_dist=True, reduce_fx="max")
