"""Resumable checkpoints: write them, and restore the state in the middle of an epoch."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning

from set_aggregation.data import ResolutionBatchSampler
from set_aggregation.loggers.csv import MetricsFile
from set_aggregation.runs._lightning import logged_steps, restore_position
from set_aggregation.runs.checkpoint import DurableCheckpointIO
from set_aggregation.runs.random_state import random_state, seed_for, set_random_state
from set_aggregation.runs.settings import changed_optimizer_arguments
from set_aggregation.runs.signals import Interrupted, SignalHandler

_CONTINUE, _SAVE, _STOP = 0, 1, 2
_TIMEOUT = 10  # seconds that a stopped rank waits for the others


class Recovery(Callback):
    """Write ``last.ckpt``, from which a run resumes bit for bit.

    It is written at the start of each epoch, within an epoch after some steps or minutes, at the end, and when a signal
    stops the run, always between two optimizer steps. Besides Lightning's state it holds the positions in the loggers'
    files, which parameters are frozen, and the state of every random-number generator of each rank. Optimizer arguments
    that a resumed run changes are applied to the restored optimizer.

    Args:
        every_n_minutes: maximum time between two checkpoints.
        every_n_steps: maximum number of optimizer steps between two checkpoints; None sets none.
        on_write_error: ``"continue"`` warns if a checkpoint cannot be written, for example on a full disk, and
            ``"stop"`` ends training. The checkpoint before it stays.
    """

    def __init__(
        self,
        every_n_minutes: float = 5.0,
        every_n_steps: int | None = None,
        on_write_error: Literal["continue", "stop"] = "continue",
    ) -> None:
        if every_n_minutes <= 0 or (every_n_steps is not None and every_n_steps < 1):
            raise ValueError(
                f"Recovery: got every_n_minutes={every_n_minutes}, every_n_steps={every_n_steps}, expected more than 0"
            )
        self.every_n_minutes = every_n_minutes
        self.every_n_steps = every_n_steps
        self.on_write_error = on_write_error
        self.file: Path | None = None  # the checkpoint; None writes nothing
        self.signals = SignalHandler()
        self.seconds = 0.0  # of the run before its last interruption
        self._started = time.monotonic()
        self._loaded: dict[str, Any] | None = None
        self._changed: list[str] = []  # arguments of the optimizer
        self._groups: list[dict[str, Any]] = []  # parameter groups before the optimizer is restored
        self._random: dict[str, Any] = {}
        self._frozen: list[str] = []
        self._group: dist.ProcessGroup | None = None  # of messages beside training
        self._reduction: tuple[torch.Tensor, dist.Work] | None = None  # the last one
        self._step = self._saved_at_step = 0
        self._saved_at = self._started
        self._is_due = self._stops = self._is_over = self._is_saving = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note which arguments of the optimizer the resumed run changes."""
        self._changed = changed_optimizer_arguments(checkpoint.get("hyper_parameters", {}), dict(pl_module.hparams))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the optimizer's arguments before Lightning restores the old ones."""
        groups = (group for optimizer in trainer.optimizers for group in optimizer.param_groups)
        self._groups = [{name: value for name, value in group.items() if name != "params"} for group in groups]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state of the checkpoint, if there is one."""
        if (state := self._restore(trainer, pl_module)) is not None:
            if "loggers" in state:  # unlike best.ckpt, not written in the middle of a step
                sampler, num_batches = getattr(trainer.train_dataloader, "sampler", None), None
                if isinstance(sampler, ResolutionBatchSampler) and sampler.num_replanned:
                    # Another number of ranks divides the rest of the epoch into other batches.
                    num_batches = sampler.num_replanned + sampler.state_dict()["num_batches"]
                restore_position(trainer, state["steps_logged"], num_batches)
        elif trainer.global_rank > 0:
            seed_for(torch.initial_seed(), trainer.global_rank)
        if trainer.world_size > 1 and dist.is_initialized():
            # A lost rank raises here at once; making the group would wait long for it.
            trainer.strategy.barrier()
            group: Any = dist.new_group(backend="gloo")
            self._group = group
        self._step = self._saved_at_step = trainer.global_step
        self._saved_at = time.monotonic()
        self.signals.waits = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the first batch of the epoch."""
        self._is_due = True
        self._note(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Decide after an optimizer step whether to save before the next."""
        if trainer.global_step == self._step:  # no checkpoint holds gradients that are being accumulated
            return
        self._step = trainer.global_step
        wish = _STOP if self.signals.signal else _CONTINUE
        if not wish and trainer.is_global_zero and time.monotonic() > self._saved_at + 60 * self.every_n_minutes:
            wish, self._saved_at = _SAVE, time.monotonic()
        wish = self._agree(wish)
        self._stops |= wish == _STOP
        counted = self.every_n_steps is not None and self._step - self._saved_at_step >= self.every_n_steps
        self._is_due |= wish != _CONTINUE or counted
        if self._is_due:
            self._note(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the random state again, in case the validation drew numbers."""
        if self._is_due:
            self._note(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save if it is due, with the random state of before this batch was augmented."""
        if self._is_due and trainer.global_step > self._saved_at_step:
            self._save(trainer)
        self._is_due = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end of training."""
        for _ in range(2):  # the first result is that of the previous reduction
            self._stops |= self._agree(_STOP if self.signals.signal else _CONTINUE) == _STOP
        self._is_over = True
        self._note(pl_module)
        self._save(trainer)
        self.signals.waits = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state of a finished training, for which Lightning skips on_train_start."""
        self._restore(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that no other part of a checkpoint has, equal on all ranks."""
        ranks: list[Any] = [self._random]
        if self._group is not None:
            ranks = [None] * dist.get_world_size()
            dist.all_gather_object(ranks, self._random, group=self._group)
        return {"random": ranks, "seconds": self.seconds + time.monotonic() - self._started, "frozen": self._frozen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Note the state to restore when training starts."""
        self._loaded = state_dict

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the positions in the loggers' files and the last metrics."""
        if not self._is_saving:
            return
        checkpoint["callbacks"][self.state_key] |= {
            "steps_logged": logged_steps(trainer),
            "loggers": [logger.state_dict() for logger in trainer.loggers if hasattr(logger, "state_dict")],
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        if self._is_over:  # the state at the start of the next epoch, for a run resumed with more epochs
            batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            batches["total"]["ready"] += 1
            batches["current"] = {"ready": 1, "started": 0, "processed": 0, "completed": 0}
            batches["is_last_batch"] = False

    def _note(self, model: LightningModule) -> None:
        self._random = random_state(model.device)
        self._frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]

    def _restore(self, trainer: Trainer, model: LightningModule) -> dict[str, Any] | None:
        """Restore the loaded state, once, and return it."""
        state, self._loaded = self._loaded, None
        if state is None:
            return None
        self.seconds = state["seconds"]
        ranks, rank = state["random"], trainer.global_rank
        if rank < len(ranks):
            set_random_state(ranks[rank], trainer.strategy.root_device)
        else:
            seed_for(torch.initial_seed(), rank, trainer.global_step)
        if any(isinstance(callback, BaseFinetuning) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            for name, weight in model.named_parameters():  # the callback froze them again on resuming
                weight.requires_grad_(name not in state["frozen"])
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        for group, new in zip(groups, self._groups, strict=False):  # BaseFinetuning restores more groups
            group |= {name: new[name] for name in self._changed if name in new}
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in state.get("metrics", {}).items()})
        loggers: list[Any] = [logger for logger in trainer.loggers if hasattr(logger, "load_state_dict")]
        for logger, of_logger in zip(loggers, state.get("loggers", ()), strict=False):
            logger.load_state_dict(of_logger)
        return state

    def all_ranks_stop(self) -> bool:
        """Return whether all ranks call this within some seconds, so none has failed."""
        if self._group is None:
            return False
        try:
            dist.monitored_barrier(self._group, timedelta(seconds=_TIMEOUT))
        except RuntimeError:
            return False
        return True

    def close(self) -> None:
        """Release the process group."""
        self._group = self._reduction = None

    def _agree(self, wish: int) -> int:
        """Return the maximum of all ranks' requests at the last call, whose reduction overlaps the step since then."""
        if self._group is None:
            return wish
        before, mine = self._reduction, torch.tensor(wish)
        self._reduction = mine, dist.all_reduce(mine, dist.ReduceOp.MAX, self._group, async_op=True)
        if before is None:
            return _CONTINUE
        before[1].wait()
        return int(before[0])

    def _save(self, trainer: Trainer) -> None:
        if self.file is not None:
            disk = trainer.strategy.checkpoint_io
            for logger in trainer.loggers:
                logger.save()
            if isinstance(disk, DurableCheckpointIO):
                disk.metrics = [logger.file for logger in trainer.loggers if isinstance(logger, MetricsFile)]
                disk.waits = self._stops or self._is_over
            self._is_saving = True
            trainer.save_checkpoint(self.file, weights_only=False)
            self._is_saving = False
        self._saved_at_step, self._saved_at = trainer.global_step, time.monotonic()
        if self._stops:
            raise Interrupted(self.signals.signal or "a signal to another rank", is_agreed=True)
