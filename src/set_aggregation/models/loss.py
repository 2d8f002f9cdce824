"""The loss: a check of it, and its mean over a split."""

import copy
import warnings
from typing import Any

import torch
from jsonargparse.typing import register_type
from torch import Tensor, nn
from torchmetrics import Metric

# Class weights, as a list in a configuration.
register_type(Tensor, Tensor.tolist, lambda values: torch.as_tensor(values, dtype=torch.float32))


class MeanLoss(Metric):
    """Loss of a whole split, summed in double precision: independent of how ranks and batches share the images."""

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss: nn.Module, logits: Tensor, labels: Tensor) -> None:
        """Add the loss of a batch."""
        each: Any = copy.copy(loss)
        each.reduction = "none"  # ignored by a loss without it, which then returns the mean of the batch
        values = each(logits, labels)
        weights = torch.ones(len(labels), device=values.device)
        if isinstance(loss, nn.CrossEntropyLoss) and loss.weight is not None:
            weights = loss.weight[labels]  # the mean is over the class weights, as in torch
        self.total = self.total + values.to(self.total.dtype).sum() * (1 if values.ndim else len(labels))
        self.weight = self.weight + weights.to(self.weight.dtype).sum()

    def compute(self) -> Tensor:
        """Return the mean."""
        return (self.total / self.weight).float()


def check_loss(loss: nn.Module, num_classes: int) -> None:
    """Refuse a loss that does not map logits (B, K) and labels (B,) to one number."""
    name, labels = type(loss).__name__, torch.arange(num_classes + 1) % num_classes
    try:
        with warnings.catch_warnings(action="ignore"):
            # One row more than columns: labels are not broadcast.
            value = loss(torch.zeros(num_classes + 1, num_classes), labels)
    except Exception as error:
        reason = str(error).splitlines()[0]
        expected = f"logits (B, {num_classes}) and labels (B,), as CrossEntropyLoss does"
        raise ValueError(f"got the loss {name}, which fails ({reason}), expected one that takes {expected}") from error
    if value.numel() != 1:
        raise ValueError(f"got the loss {name} with values of shape {tuple(value.shape)}, expected their mean or sum")
