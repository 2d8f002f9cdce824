"""What a model mistakes for what, and its worst mistakes."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, distributed


@dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Args:
        index: of the image in the test set.
        loss: its cross-entropy in nats.
        truth: its class.
        prediction: the class that the model took it for.
    """

    index: int
    loss: float
    truth: int
    prediction: int


class Mistakes(Callback):
    """Counts, while a model is tested, how often each class is taken for each other one, and keeps the wrong answers
    of largest loss.

    Exact however the images are dealt out to ranks.

    Args:
        num_worst: how many mistakes to keep.

    Attributes:
        confusion: the number of images of class i taken for class j in row i, column j; all zero before the test.
        worst: the mistakes, those of largest loss first.
    """

    def __init__(self, num_worst: int = 32) -> None:
        self.num_worst = num_worst
        self.confusion: NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
        self.worst: list[Mistake] = []
        self._batches: list[list[int]] = []
        self._counts = torch.zeros(0, dtype=torch.long)
        self._losses = torch.zeros(0)
        self._facts = torch.zeros(0, 3, dtype=torch.long)  # index, truth and prediction to each of the losses

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count."""
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        loader: Any = trainer.test_dataloaders
        self._batches = list(copy.copy(loader.sampler))  # a batch does not say which images it has
        self._counts = torch.zeros(datamodule.num_classes**2, dtype=torch.long, device=pl_module.device)
        self._losses = torch.full((self.num_worst,), -1.0, device=pl_module.device)  # -1: no mistake
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
        """Counts a batch."""
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
        """Puts together what the ranks have counted."""
        counts = trainer.strategy.reduce(self._counts, reduce_op="sum")
        num_classes = round(len(counts) ** 0.5)
        self.confusion = counts.view(num_classes, num_classes).cpu().numpy()
        if trainer.world_size > 1:
            self._keep_worst(_of_all_ranks(self._losses), _of_all_ranks(self._facts))
        self.worst = [
            Mistake(index, loss, truth, prediction)
            for loss, (index, truth, prediction) in zip(self._losses.tolist(), self._facts.tolist(), strict=True)
            if loss >= 0
        ]

    def _keep_worst(self, losses: Tensor, facts: Tensor) -> None:
        self._losses, order = losses.topk(self.num_worst)
        self._facts = facts[order]


def _of_all_ranks(tensor: Tensor) -> Tensor:
    """What all ranks have, one after the other."""
    parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor)
    return torch.cat(parts)
