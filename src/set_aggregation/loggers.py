"""Where loggers write, and how W&B behaves: offline unless asked for, and never in the way."""

import os
import warnings
from collections.abc import Sequence

from jsonargparse import Namespace
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger, WandbLogger

from set_aggregation.callbacks import RunDirectory

_SECONDS_FOR_WANDB = "20"


def put_into(run: RunDirectory, logger: Namespace) -> None:
    """Makes a logger write into the folder of a run.

    Args:
        run: the folder.
        logger: class path and arguments of the logger, which are changed. Loggers that are not known here write
            where they were told to.
    """
    name, arguments = logger.class_path.rsplit(".", 1)[-1], logger.init_args
    if name in ("CSVLogger", "TensorBoardLogger"):
        arguments.save_dir, arguments.name, arguments.version = str(run.root), run.experiment, run.name
    if name == "WandbLogger":
        arguments.save_dir = str(run.folder)
        arguments.version = arguments.version or run.name
        arguments.name = arguments.name or run.name
        arguments.group = arguments.group or run.experiment
        arguments.mode = arguments.mode or os.environ.get("WANDB_MODE", "offline")
        if arguments.mode == "offline":
            os.environ.setdefault("WANDB_SILENT", "true")  # the end of the run says what to do with it


@rank_zero_only
def start_wandb(loggers: Sequence[Logger]) -> None:
    """Starts the W&B run: where that cannot be done online, with a warning, offline.

    Args:
        loggers: those of the trainer.
    """
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        import wandb  # takes a second; only where it is used

        # Lightning gives it even where nobody asked for it, and W&B warns of it.
        logger._wandb_init.pop("anonymous", None)
        os.environ.setdefault("WANDB_INIT_TIMEOUT", _SECONDS_FOR_WANDB)
        try:
            if logger._wandb_init["mode"] == "online" and not wandb.Api().api_key:
                raise wandb.errors.UsageError("nobody is logged in, see `wandb login`")
            _ = logger.experiment
        except wandb.errors.Error as error:
            warnings.warn(
                f"W&B cannot be reached ({error}): this run is kept offline, `wandb sync` can send it later",
                stacklevel=2,
            )
            logger._wandb_init["mode"] = "offline"
            _ = logger.experiment


@rank_zero_only
def finish_wandb(loggers: Sequence[Logger], exit_code: int) -> None:
    """Ends the W&B run, if one was started."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish(exit_code=exit_code)
