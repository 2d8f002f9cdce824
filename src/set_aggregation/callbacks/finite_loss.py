"""Training stops when the loss is no longer a number."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class FiniteLoss(Callback):
    """Ends training with the step at which the loss became NaN or infinite.

    The step is kept on the device and read every ``every_n_steps`` steps, before validation and at the end of an
    epoch, so that no other step waits for the device.

    Args:
        every_n_steps: how many steps may go by before a broken loss is noticed.

    Raises:
        FloatingPointError: the loss was not finite; the step is named.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        self.every_n_steps = every_n_steps
        self._first: Tensor | None = None  # the step, -1 while all was well

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Notes the step, on the device."""
        loss = outputs["loss"]
        if self._first is None:
            self._first = torch.full((), -1, device=loss.device)
        fault = ~loss.detach().isfinite() & (self._first < 0)
        self._first = torch.where(fault, trainer.global_step, self._first)
        if (batch_idx + 1) % self.every_n_steps == 0 or trainer.is_last_batch:
            self._raise_if_noted()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A broken model is not validated, so it never becomes a checkpoint."""
        self._raise_if_noted()

    def _raise_if_noted(self) -> None:
        if self._first is not None and (step := int(self._first)) >= 0:
            raise FloatingPointError(
                f"got a loss that is not a finite number at step {step}, expected one that is; try a smaller learning "
                "rate (--model.optimizer.lr), --trainer.gradient_clip_val 1, or --model.aggregator.reduction mean"
            )
