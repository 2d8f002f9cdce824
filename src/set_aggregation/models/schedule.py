"""Learning-rate schedules over all steps of a training."""

import math
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from set_aggregation.aggregators.factory import arguments_of
from set_aggregation.data import ImageDataModule


class WarmupCosine(LambdaLR):
    r"""Linear warm-up, then cosine decay to zero, by step.

    Of T steps the first W = round(``warmup_fraction`` T) are the warm-up. The optimizer's learning rate is multiplied
    in step t = 0, ..., T - 1 by

    .. math::
        \frac{t + 1}{W + 1} \quad (t < W), \qquad
        \frac{1}{2} \left(1 + \cos \pi \frac{t - W}{T - W}\right) \quad (t \ge W).

    Cosine decay is from `Loshchilov and Hutter (2017) <https://arxiv.org/abs/1608.03983>`_, eq. 5, without restarts.

    Args:
        optimizer: the optimizer; its learning rate is the largest one.
        total_steps: number T of steps; :class:`~set_aggregation.models.SetClassifier` fills it in.
        warmup_fraction: fraction of the steps that are the warm-up.

    Raises:
        ValueError: no ``total_steps``, or a fraction outside [0, 1).

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule = WarmupCosine(optimizer, total_steps=8, warmup_fraction=0.25)
        >>> [round(schedule.lr_lambdas[0](step), 2) for step in range(8)]
        [0.33, 0.67, 1.0, 0.93, 0.75, 0.5, 0.25, 0.07]
    """

    def __init__(self, optimizer: Optimizer, total_steps: int | None = None, warmup_fraction: float = 0.05) -> None:
        if total_steps is None or total_steps < 1:
            raise ValueError(f"WarmupCosine: got total_steps={total_steps}, expected at least 1")
        if not 0 <= warmup_fraction < 1:
            raise ValueError(f"WarmupCosine: got warmup_fraction={warmup_fraction}, expected a number in [0, 1)")
        warmup = round(warmup_fraction * total_steps)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            return (1 + math.cos(math.pi * min(1, (step - warmup) / max(1, total_steps - warmup)))) / 2

        super().__init__(optimizer, factor)


def build_schedule(factory: Callable[..., LRScheduler], optimizer: Optimizer, trainer: Trainer) -> dict[str, Any]:
    """Return Lightning's description of a schedule; one that takes the number of steps gets it and advances by step."""
    taken, given = arguments_of(factory)
    takes_steps = "total_steps" in taken
    if takes_steps and not (given.get("total_steps") or given.get("steps_per_epoch")):
        schedule = factory(optimizer, total_steps=num_steps(trainer))
    else:
        schedule = factory(optimizer)
    settings: dict[str, Any] = {"scheduler": schedule, "interval": "step" if takes_steps else "epoch"}
    if isinstance(schedule, ReduceLROnPlateau):
        settings["monitor"] = getattr(schedule, "monitor", "val/loss" if schedule.mode == "min" else "val/accuracy")
        settings["frequency"] = trainer.check_val_every_n_epoch or 1  # None validates by steps
    return settings


def num_steps(trainer: Trainer) -> int:
    """Return the number of optimizer steps in a training.

    ``trainer.estimated_stepping_batches`` would load the data before the state of a stateful loader is restored, and
    that state would be lost. It is used only without a data module of this package.
    """
    data, limit = getattr(trainer, "datamodule", None), trainer.limit_train_batches
    if max(trainer.max_steps, trainer.max_epochs or 0) < 1:
        raise ValueError(
            "got a schedule over all steps of a training without an end, expected --trainer.max_epochs or "
            "--trainer.max_steps"
        )
    if not isinstance(data, ImageDataModule):
        return int(trainer.estimated_stepping_batches)
    if trainer.max_epochs == -1:
        return trainer.max_steps
    all_batches = data.batches_per_epoch
    batches = min(all_batches, limit) if isinstance(limit, int) else int(all_batches * (1 if limit is None else limit))
    steps = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)
