"""Training stops when the loss is no longer a number."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class FiniteLoss(Callback):
    """Ends training with the step at which the loss became NaN or infinite.

    The step is kept on the device and read at every ``Trainer(log_every_n_steps)``-th step, before validation and at
    the end, so that no step waits for the device.

    Raises:
        FloatingPointError: the loss was not finite; the step is named.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None  # the step, -1 while all was well

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Notes the step, on the device."""
        loss = outputs["loss"]
        if self._first is None:
            self._first = torch.full((), -1, device=loss.device)
        fault = ~loss.detach().isfinite() & (self._first < 0)
        self._first = torch.where(fault, trainer.global_step, self._first)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0 or trainer.is_last_batch:
            self._raise_if_noted()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """A broken model is not validated, so it never becomes a checkpoint."""
        self._raise_if_noted()

    def _raise_if_noted(self) -> None:
        if self._first is not None and (step := int(self._first)) >= 0:
            raise FloatingPointError(
                f"got a loss that is not a finite number at step {step}, expected one that is; try a smaller learning "
                "rate (--model.optimizer.lr), --trainer.gradient_clip_val 1, or --model.aggregator.reduction mean"
            )
