"""A run that goes on, whatever ended it, as if nothing had happened."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from set_aggregation.data import ResolutionBatchSampler
from set_aggregation.loggers.csv import MetricsFile
from set_aggregation.runs.checkpoint_io import DurableCheckpointIO
from set_aggregation.runs.random_state import random_state, seed_apart, set_random_state
from set_aggregation.runs.signals import Interrupted, Interruption

_GO_ON, _SAVE, _STOP = 0, 1, 2
_PATIENCE = 10  # seconds that a rank waits for the others when it was told to stop


class Recovery(Callback):
    """Writes ``last.ckpt``, with which a run goes on bit for bit as if it had never been interrupted.

    It is written at the start of each epoch, within an epoch when enough steps or minutes have passed, at the end,
    and when a signal asks the run to stop; always between two optimizer steps, when all that belongs to the first is
    done and logged. It holds the weights, the states of optimizer, schedules and callbacks, the places in the epoch,
    in the data and in the files of the loggers, and the state of every random-number generator of each rank. Metrics
    lie on the disk before the checkpoint that counts them does.

    Ranks agree on the step at which they save by a reduction that runs beside the next step, so that none waits for
    another. Ranks other than the first draw random numbers of their own.

    Args:
        every_n_minutes: how much time may lie between two checkpoints.
        every_n_steps: how many optimizer steps may lie between two of them; None counts none.
        on_write_error: what to do about a checkpoint that cannot be written, as on a full disk: ``"continue"`` says
            so in one line and trains on, ``"stop"`` ends training. The checkpoint before it stays.

    Attributes:
        file: where to write; None writes nothing.
        interruption: the signal that may have come.
        seconds: time that the run took before it was interrupted for the last time.

    Raises:
        ValueError: no time or steps at all.
        Interrupted: a signal came, and all is saved.
    """

    def __init__(
        self,
        every_n_minutes: float = 5.0,
        every_n_steps: int | None = None,
        on_write_error: Literal["continue", "stop"] = "continue",
    ) -> None:
        if every_n_minutes <= 0:
            raise ValueError(f"Recovery: got every_n_minutes={every_n_minutes}, expected more than 0")
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"Recovery: got every_n_steps={every_n_steps}, expected at least 1, or None")
        self.every_n_minutes = every_n_minutes
        self.every_n_steps = every_n_steps
        self.on_write_error = on_write_error
        self.file: Path | None = None
        self.interruption = Interruption()
        self.seconds = 0.0
        self._started = time.monotonic()
        self._loaded: dict[str, Any] | None = None
        self._random: dict[str, Any] = {}
        self._group: dist.ProcessGroup | None = None  # where ranks talk to each other beside training
        self._asked: tuple[torch.Tensor, dist.Work] | None = None  # what they said last
        self._step = self._saved_at_step = 0
        self._saved_at = self._started
        self._is_due = self._stops = self._is_over = self._is_saving = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Goes on from where the checkpoint was written, if there is one."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            self._go_on(trainer, loaded)
        elif trainer.global_rank > 0:
            seed_apart(torch.initial_seed(), trainer.global_rank)
        if trainer.world_size > 1 and dist.is_initialized():
            # Should another rank be lost by now, this says so; the making of a group would wait for it for long.
            trainer.strategy.barrier()
            group: Any = dist.new_group(backend="gloo")
            self._group = group
        self._step = self._saved_at_step = trainer.global_step
        self._saved_at = time.monotonic()
        self.interruption.waits = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A good moment to save."""
        self._is_due = True
        self._random = random_state(pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Decides, after an optimizer step, whether to save before the next."""
        if trainer.global_step == self._step:  # gradients are still being accumulated, which no checkpoint holds
            return
        self._step = trainer.global_step
        wish = _STOP if self.interruption.signal else _GO_ON
        if not wish and trainer.is_global_zero and time.monotonic() > self._saved_at + 60 * self.every_n_minutes:
            wish, self._saved_at = _SAVE, time.monotonic()
        wish = self._agree(wish)
        self._stops |= wish == _STOP
        counted = self.every_n_steps is not None and self._step - self._saved_at_step >= self.every_n_steps
        self._is_due |= wish != _GO_ON or counted
        if self._is_due:
            self._random = random_state(pl_module.device)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes what random numbers are left, in case it drew some."""
        if self._is_due:
            self._random = random_state(pl_module.device)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves, if it is time: all that belongs to the step before is done and logged now. The random numbers of
        this batch's augmentation are drawn already, so those noted before it are saved."""
        if self._is_due and trainer.global_step > self._saved_at_step:
            self._save(trainer)
        self._is_due = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the end of training."""
        for _ in range(2):  # the first answer is that to the question before
            self._stops |= self._agree(_STOP if self.interruption.signal else _GO_ON) == _STOP
        self._is_over = True
        self._random = random_state(pl_module.device)
        self._save(trainer)
        self.interruption.waits = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes up what a training has left that had ended: Lightning leaves out what begins a training, then."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            self._take_up(trainer, loaded)

    def state_dict(self) -> dict[str, Any]:
        """What no other part of a checkpoint holds, the same on all ranks."""
        ranks: list[Any] = [self._random]
        if self._group is not None:
            ranks = [None] * dist.get_world_size()
            dist.all_gather_object(ranks, self._random, group=self._group)
        return {"random": ranks, "seconds": self.seconds + time.monotonic() - self._started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Notes what to go on from."""
        self._loaded = state_dict

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds where the loggers are in their files, and what was measured last."""
        if not self._is_saving:
            return
        checkpoint["callbacks"][self.state_key] |= {
            "steps_logged": trainer.fit_loop.epoch_loop._batches_that_stepped,
            "loggers": [logger.state_dict() for logger in trainer.loggers if hasattr(logger, "state_dict")],
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        if self._is_over:  # the state in which the next epoch would begin, should there be more of them
            batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            batches["total"]["ready"] += 1
            batches["current"] = {"ready": 1, "started": 0, "processed": 0, "completed": 0}
            batches["is_last_batch"] = False

    def _go_on(self, trainer: Trainer, state: dict[str, Any]) -> None:
        self._take_up(trainer, state)
        if "loggers" not in state:  # a checkpoint that was written in the middle of a step, such as best.ckpt
            return
        loop = trainer.fit_loop.epoch_loop
        batches: Any = loop.batch_progress.current
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if isinstance(sampler, ResolutionBatchSampler) and sampler.num_replanned:
            # Another number of ranks makes other batches of the rest of the epoch.
            batches.completed = len(sampler) - sampler.num_remaining
        batches.ready, batches.started, batches.processed = batches.completed + 1, batches.completed, batches.completed
        # The batch that had been made ready will be so again, and Lightning would count it twice.
        loop.batch_progress.total.ready = loop.batch_progress.total.completed
        # The validation of the last step is done and counted, but Lightning would count it as done once more.
        loop.val_loop.increment_progress_to_evaluation_end = _do_nothing  # type: ignore[method-assign]
        # Or Lightning leaves out, at the end of this epoch, what a schedule does that looks at a metric.
        trainer.fit_loop._restarting = False
        # Lightning takes a checkpoint to be from the middle of a step, and adds the rest of that to its count.
        loop._batches_that_stepped = state["steps_logged"] - (not loop._should_accumulate())

    def _take_up(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Takes up all but the place in the epoch."""
        self.seconds = state["seconds"]
        ranks, rank = state["random"], trainer.global_rank
        if rank < len(ranks):
            set_random_state(ranks[rank], trainer.strategy.root_device)
        else:
            seed_apart(torch.initial_seed(), rank, trainer.global_step)
        if "loggers" not in state:
            return
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in state["metrics"].items()})
        loggers: list[Any] = [logger for logger in trainer.loggers if hasattr(logger, "load_state_dict")]
        for logger, of_logger in zip(loggers, state["loggers"], strict=False):
            logger.load_state_dict(of_logger)

    def all_ranks_stop(self) -> bool:
        """Whether all ranks get here within some seconds, and none has failed."""
        if self._group is None:
            return False
        try:
            dist.monitored_barrier(self._group, timedelta(seconds=_PATIENCE))
        except RuntimeError:
            return False
        return True

    def close(self) -> None:
        """Lets go of the other ranks, when there is nothing left to agree on."""
        self._group = self._asked = None

    def _agree(self, wish: int) -> int:
        """The largest wish of all ranks when this was asked the last time; of a single rank, its wish."""
        if self._group is None:
            return wish
        before, mine = self._asked, torch.tensor(wish)
        self._asked = mine, dist.all_reduce(mine, dist.ReduceOp.MAX, self._group, async_op=True)
        if before is None:
            return _GO_ON
        before[1].wait()
        return int(before[0])

    def _save(self, trainer: Trainer) -> None:
        name = self.interruption.signal or "a signal to another rank"
        if self.file is not None:
            disk = trainer.strategy.checkpoint_io
            waits = self._stops or self._is_over
            for logger in trainer.loggers:
                logger.save()
            if isinstance(disk, DurableCheckpointIO):
                disk.counted = [logger.file for logger in trainer.loggers if isinstance(logger, MetricsFile)]
                if waits:
                    disk.wait()  # or this one would be left out
            self._is_saving = True
            try:
                trainer.save_checkpoint(self.file, weights_only=False)
            finally:
                self._is_saving = False
            if waits and isinstance(disk, DurableCheckpointIO):
                disk.wait()
        self._saved_at_step, self._saved_at = trainer.global_step, time.monotonic()
        if self._stops:
            raise Interrupted(name, is_agreed=True)


def _do_nothing() -> None:
    """A lambda could not be handed to processes that are spawned."""
