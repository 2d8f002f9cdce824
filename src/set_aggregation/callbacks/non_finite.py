"""What happens when the loss or the gradient is no longer a number."""

import json
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from set_aggregation.data import ResolutionBatchSampler

_NAMED = 5  # images in a message


class _Step(NamedTuple):
    number: int  # as Trainer.global_step counts it, when it is done
    batches: range  # of the epoch, whose gradients it is made of
    is_faulty: Tensor  # on the device


class NonFinite(Callback):
    """Looks at the loss of each batch and the gradient of each optimizer step.

    Where one of them is NaN or infinite, the step and the images are written to a file, a JSON object a line, and

    - ``"stop"`` ends training. What was found lies on the device and is read every ``every_n_steps`` steps, before
      validation, before a checkpoint is written and at the end of an epoch, so that no other step waits for the device
      and no checkpoint holds broken weights.
    - ``"skip"`` leaves the step out: weights, optimiser and running statistics stay as they are. Each step waits for
      the device and for the other ranks.
    - ``"continue"`` goes on, with a warning.

    With ``precision="16-mixed"`` only the loss is looked at: there gradients overflow now and then, and are scaled.

    Args:
        action: what to do.
        every_n_steps: how many steps may go by before it is noticed.

    Attributes:
        file: where to write what was found; None writes nothing.
        good_checkpoint: what to go on from, to be named.

    Raises:
        FloatingPointError: with ``"stop"``; the step, images and the last good checkpoint are named.
        ValueError: a number of steps below 1.
    """

    def __init__(self, action: Literal["stop", "skip", "continue"] = "stop", every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"NonFinite: got every_n_steps={every_n_steps}, expected at least 1")
        self.action = action
        self.every_n_steps = every_n_steps
        self.file: Path | None = None
        self.good_checkpoint: Path | None = None
        self._bad_loss: Tensor | None = None  # of a batch since the last step
        self._first_batch = 0  # since the last step
        self._steps: list[_Step] = []  # not read yet
        self._buffers: dict[str, Tensor] = {}
        self._has_warned = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keeps the running statistics, which a bad batch would spoil."""
        if self._bad_loss is None:
            self._first_batch = batch_idx
            if self.action == "skip":
                self._buffers = {name: buffer.clone() for name, buffer in pl_module.named_buffers()}

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Looks at the loss."""
        bad = ~loss.detach().isfinite()
        self._bad_loss = bad if self._bad_loss is None else self._bad_loss | bad

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Looks at the gradient, which all ranks share."""
        assert self._bad_loss is not None
        bad, self._bad_loss = self._bad_loss, None
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
            bad = bad | ~norm.isfinite().to(bad.device)
        batches = range(self._first_batch, trainer.fit_loop.epoch_loop.batch_idx + 1)
        step = _Step(trainer.global_step + 1, batches, bad)
        if self.action != "skip":
            self._steps.append(step)
        elif trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            for weight in weights:
                weight.grad = None  # an optimiser leaves alone what has no gradient
            for name, buffer in pl_module.named_buffers():
                buffer.copy_(self._buffers[name])
            self._warn(trainer, step, "left out")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reads what was found, now and then."""
        if len(self._steps) >= self.every_n_steps or trainer.is_last_batch:
            self._read(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A broken model is not validated, so it never becomes a checkpoint."""
        self._read(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A broken model is not saved."""
        self._read(trainer)

    def _read(self, trainer: Trainer) -> None:
        steps, self._steps = self._steps, []
        if not steps:
            return
        faulty = torch.stack([step.is_faulty for step in steps]).tolist()
        for step in (step for step, is_faulty in zip(steps, faulty, strict=True) if is_faulty):
            if self.action == "continue":
                self._warn(trainer, step, "taken all the same")
                continue
            images = self._write(trainer, step)
            good = self.good_checkpoint
            raise FloatingPointError(
                f"got a loss or gradient that is not a finite number at step {step.number}, expected one that is; try "
                "a smaller learning rate (--model.optimizer.lr), --trainer.gradient_clip_val 1, "
                "--model.aggregator.reduction mean, or leave such steps out (--non_finite.action skip). It came from "
                f"{images}; the last good checkpoint is {good if good is not None and good.exists() else 'none'}"
            )

    def _warn(self, trainer: Trainer, step: _Step, what: str) -> None:
        images = self._write(trainer, step)
        if not self._has_warned:
            more = f"; {self.file} has the others, should there be more" if self.file else ""
            warnings.warn(  # of no line of the code, which would be shown too
                f"got a loss or gradient that is not a finite number at step {step.number}, which is {what}: it came "
                f"from {images}{more}",
                stacklevel=1000,
            )
        self._has_warned = True

    def _write(self, trainer: Trainer, step: _Step) -> str:
        """Writes down which images a step had, and says it in words."""
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if not isinstance(sampler, ResolutionBatchSampler):
            return f"batches {step.batches.start} to {step.batches.stop - 1} of the epoch"
        images = [image for batch in step.batches for image in sampler.batch_of_step(batch)]
        rank = trainer.global_rank
        if self.file is not None and self.file.parent.is_dir():
            row = {"step": step.number, "epoch": trainer.current_epoch, "rank": rank, "training_images": images}
            with self.file.open("a") as file:
                file.write(json.dumps(row) + "\n")
        named = ", ".join(map(str, images[:_NAMED]))
        more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
        where = f" of rank {rank}" if trainer.world_size > 1 else ""
        return f"training images {named}{more}{where}"
