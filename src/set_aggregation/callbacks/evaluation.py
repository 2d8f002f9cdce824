"""Counts of an evaluation: accuracy at each image size, confusion matrix, and the worst misclassifications."""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import distributed


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


class Misclassification(NamedTuple):
    """A wrong prediction: number of the image in the test set, cross-entropy in nats, class and predicted class."""

    number: int
    loss: float
    truth: int
    prediction: int


class Misclassifications(Callback):
    """Count the confusion matrix of a test, and keep the misclassified images of largest loss.

    Exact for any distribution of the images over ranks.
    """

    def __init__(self, num_worst: int = 32) -> None:
        self.num_worst = num_worst
        # Number of images of class i (row) predicted as class j (column); empty before a test.
        self.confusion: NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
        self.worst: list[Misclassification] = []  # largest loss first

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the counts."""
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        loader: Any = trainer.test_dataloaders
        self._batches = list(copy.copy(loader.sampler))  # batches do not carry indices
        self._counts = torch.zeros(datamodule.num_classes**2, dtype=torch.long, device=pl_module.device)
        self._losses = torch.full((self.num_worst,), -1.0, device=pl_module.device)  # -1: none
        # Index, truth and prediction of each loss.
        self._facts = torch.zeros(self.num_worst, 3, dtype=torch.long, device=pl_module.device)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Count a batch."""
        logits, labels = outputs.float(), batch[1]
        predictions = logits.argmax(1)
        num_classes = logits.shape[1]
        self._counts += torch.bincount(labels * num_classes + predictions, minlength=num_classes**2)
        losses = F.cross_entropy(logits, labels, reduction="none").where(predictions != labels, -1)
        indices = torch.tensor(self._batches[batch_idx], device=labels.device)
        facts = torch.stack((indices, labels, predictions), dim=1)
        self._losses, order = torch.cat((self._losses, losses)).topk(self.num_worst)
        self._facts = torch.cat((self._facts, facts))[order]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Combine the counts of all ranks."""
        counts = trainer.strategy.reduce(self._counts, reduce_op="sum")
        num_classes = round(len(counts) ** 0.5)
        self.confusion = counts.view(num_classes, num_classes).cpu().numpy()
        ranks: list[Any] = [(self._losses.tolist(), self._facts.tolist())]
        if trainer.world_size > 1:
            ranks *= trainer.world_size
            distributed.all_gather_object(ranks, ranks[0])
        found = [pair for losses, facts in ranks for pair in zip(losses, facts, strict=True) if pair[0] >= 0]
        worst = sorted(found, key=lambda pair: -pair[0])[: self.num_worst]
        self.worst = [Misclassification(index, loss, truth, prediction) for loss, (index, truth, prediction) in worst]
