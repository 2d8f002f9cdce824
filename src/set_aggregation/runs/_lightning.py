"""Private names of Lightning, all of them."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher


def take_over_signals(trainer: Trainer) -> None:
    """Keep Lightning from handling signals: it would leave no checkpoint, and make every step wait for a broadcast."""
    trainer._signal_connector.register_signal_handlers = _do_nothing  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _do_nothing  # type: ignore[method-assign]


def spawns_processes(trainer: Trainer) -> bool:
    """Return whether ``fit`` runs in other processes, whose results this process does not get."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def is_built_by_cli() -> bool:
    """Return whether LightningCLI is building a model from class paths and plain values."""
    return _given_hyperparameters.get() is not None


def logged_steps(trainer: Trainer) -> int:
    """Return the number of steps that the loggers have seen."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def restore_position(trainer: Trainer, num_steps: int, num_batches: int | None) -> None:
    """Correct the loop counters after Lightning has restored a checkpoint written between two steps."""
    loop = trainer.fit_loop.epoch_loop
    batches: Any = loop.batch_progress.current
    if num_batches is not None:
        batches.completed = num_batches
    batches.ready, batches.started, batches.processed = batches.completed + 1, batches.completed, batches.completed
    # The batch that was ready will be fetched and counted again.
    loop.batch_progress.total.ready = loop.batch_progress.total.completed
    # The validation of the last step is done and counted; Lightning would count it again.
    loop.val_loop.increment_progress_to_evaluation_end = _do_nothing  # type: ignore[method-assign]
    # While restarting, Lightning skips the schedules that watch a metric at the end of the epoch.
    trainer.fit_loop._restarting = False
    # Lightning assumes that the checkpoint is from the middle of a step and adds the rest of that step to its count.
    loop._batches_that_stepped = num_steps - (not loop._should_accumulate())


class ProgressBarFromOne(RichProgressBar):
    """Lightning's rich progress bar with epochs counted from 1."""

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        description = f"Epoch {current_epoch + 1}" + (f"/{epochs}" if epochs is not None and epochs > 0 else "")
        return f"{description:{len(self.validation_description)}}"


def _do_nothing(*_: object) -> None:
    """Do nothing; unlike a lambda it can be pickled."""
