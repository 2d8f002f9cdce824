"""Where loggers write, and how W&B behaves: offline unless asked for, and never in the way."""

import os
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger, WandbLogger

from set_aggregation.callbacks import RunDirectory


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
        logger.dict_kwargs = {"group": run.experiment, **(logger.get("dict_kwargs") or {})}
        _set_wandb_mode(logger.dict_kwargs)


def prepare(loggers: list[Logger]) -> None:
    """Takes out of W&B's arguments what W&B warns about.

    Args:
        loggers: those of the trainer, before they are used.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            # Lightning gives it to wandb.init even when nobody asked for it.
            logger._wandb_init.pop("anonymous", None)


def finish_wandb(loggers: list[Logger], exit_code: int) -> None:
    """Ends the W&B run, if one was started."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish(exit_code=exit_code)


def _set_wandb_mode(keywords: dict[str, Any]) -> None:
    """Offline by default; online where there is an account to be online with."""
    mode = os.environ.setdefault("WANDB_MODE", keywords.get("mode", "offline"))
    if mode == "offline":
        os.environ.setdefault("WANDB_SILENT", "true")  # the summary at the end says what to do with the run
