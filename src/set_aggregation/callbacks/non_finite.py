"""Stop at a loss or gradient that is NaN or infinite."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from set_aggregation.data import ResolutionBatchSampler
from set_aggregation.data.splits import some_of
from set_aggregation.runs.checkpoint import LAST


class NonFinite(Callback):
    """Check the loss of each batch and the gradient of each optimizer step, and stop if one is not finite.

    The results are read from the device every ``every_n_steps`` steps, before validation, before a checkpoint is
    written, and at the end of an epoch: other steps do not wait for the device, and no checkpoint holds broken weights.
    The step and its images are written to ``non_finite.jsonl`` as a line of JSON. With ``precision="16-mixed"`` only
    the loss is checked: the scaler handles gradients that overflow.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"NonFinite: got every_n_steps={every_n_steps}, expected at least 1")
        self.every_n_steps = every_n_steps
        self.folder: Path | None = None  # of the run; None writes nothing
        self._bad_loss: Tensor | None = None  # of a batch since the last step
        self._first_batch = 0  # since the last step
        # Number of each step not read yet, its batches of the epoch, and whether it is faulty, on the device.
        self._steps: list[tuple[int, range, Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the first batch of a step."""
        if self._bad_loss is None:
            self._first_batch = batch_idx

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check the loss."""
        bad = ~loss.detach().isfinite()
        self._bad_loss = bad if self._bad_loss is None else self._bad_loss | bad

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check the gradient, which is the same on all ranks."""
        assert self._bad_loss is not None
        bad, self._bad_loss = self._bad_loss, None
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            weights = (weight for group in optimizer.param_groups for weight in group["params"])
            norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
            bad = bad | ~norm.isfinite().to(bad.device)
        batches = range(self._first_batch, trainer.fit_loop.epoch_loop.batch_idx + 1)
        self._steps.append((trainer.global_step + 1, batches, bad))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the results every few steps."""
        if len(self._steps) >= self.every_n_steps or trainer.is_last_batch:
            self.read(trainer, pl_module)

    def read(self, trainer: Trainer, pl_module: LightningModule, checkpoint: Any = None) -> None:
        """Read the results, so that broken weights are neither validated nor saved."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        faulty = torch.stack([is_faulty for _, _, is_faulty in steps]).tolist()
        if any(faulty):
            number, batches, _ = steps[faulty.index(True)]
            images = self._record(trainer, number, batches)
            good = self.folder and self.folder / "checkpoints" / LAST
            raise FloatingPointError(
                f"got a loss or gradient that is not finite at step {number}, from {images}; try a smaller "
                "learning rate (--model.optimizer.lr), --trainer.gradient_clip_val 1, or --model.aggregator.reduction "
                f"mean; the last good checkpoint is {good if good and good.exists() else 'none'}"
            )

    on_validation_start = on_save_checkpoint = read

    def _record(self, trainer: Trainer, number: int, batches: range) -> str:
        """Write the images of a step to the file, and return their description."""
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if not isinstance(sampler, ResolutionBatchSampler):
            return f"batches {batches.start} to {batches.stop - 1} of the epoch"
        images = [image for batch in batches for image in sampler.batch_of_step(batch)]
        rank = trainer.global_rank
        if self.folder is not None:
            row = {"step": number, "epoch": trainer.current_epoch + 1, "rank": rank, "training_images": images}
            with (self.folder / "non_finite.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        return f"training images {some_of(images, most=5)}" + (f" of rank {rank}" if trainer.world_size > 1 else "")
