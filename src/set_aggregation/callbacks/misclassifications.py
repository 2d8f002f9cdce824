"""The confusion matrix of a test, and the misclassified images of largest loss."""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, distributed


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
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        logits, labels = outputs.float(), batch[1]
        predictions = logits.argmax(1)
        num_classes = logits.shape[1]
        self._counts += torch.bincount(labels * num_classes + predictions, minlength=num_classes**2)
        losses = F.cross_entropy(logits, labels, reduction="none").where(predictions != labels, -1)
        indices = torch.tensor(self._batches[batch_idx], device=labels.device)
        self._keep_worst(
            torch.cat((self._losses, losses)),
            torch.cat((self._facts, torch.stack((indices, labels, predictions), dim=1))),
        )

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Combine the counts of all ranks."""
        counts = trainer.strategy.reduce(self._counts, reduce_op="sum")
        num_classes = round(len(counts) ** 0.5)
        self.confusion = counts.view(num_classes, num_classes).cpu().numpy()
        if trainer.world_size > 1:  # not by the strategy, whose gather torch has deprecated
            ours = (self._losses, self._facts)
            gathered = [[torch.empty_like(each) for _ in range(trainer.world_size)] for each in ours]
            for parts, each in zip(gathered, ours, strict=True):
                distributed.all_gather(parts, each)
            self._keep_worst(*map(torch.cat, gathered))
        self.worst = [
            Misclassification(index, loss, truth, prediction)
            for loss, (index, truth, prediction) in zip(self._losses.tolist(), self._facts.tolist(), strict=True)
            if loss >= 0
        ]

    def _keep_worst(self, losses: Tensor, facts: Tensor) -> None:
        self._losses, order = losses.topk(self.num_worst)
        self._facts = facts[order]
