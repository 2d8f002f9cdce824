"""Where loggers write, and how W&B behaves: offline unless asked for, and never in the way."""

import os
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray

from set_aggregation.callbacks import RunDirectory
from set_aggregation.loggers.csv import MetricsFile
from set_aggregation.loggers.wandb import BackgroundWandbLogger
from set_aggregation.reports.misclassification import PicturedMistake


def put_into(run: RunDirectory, logger: Namespace, tags: Sequence[str]) -> None:
    """Makes a logger write into the folder of a run.

    Args:
        run: the folder.
        logger: class path and arguments of the logger, which are changed. Loggers that are not known here write
            where they were told to.
        tags: what W&B finds the run by, after the tags that were given.
    """
    name, arguments = logger.class_path.rsplit(".", 1)[-1], logger.init_args
    if name == "TensorBoardLogger" and not (find_spec("tensorboard") or find_spec("tensorboardX")):
        raise ValueError(
            "got the logger TensorBoardLogger without tensorboard or tensorboardX; `pip install tensorboard` brings one"
        )
    if name in ("CSVLogger", "TensorBoardLogger"):
        arguments.save_dir, arguments.name, arguments.version = str(run.root), run.experiment, run.name
    if name == "CSVLogger":
        logger.class_path = f"{MetricsFile.__module__}.{MetricsFile.__name__}"
    if name in ("WandbLogger", "BackgroundWandbLogger"):
        logger.class_path = f"{BackgroundWandbLogger.__module__}.{BackgroundWandbLogger.__name__}"
        arguments.save_dir = str(run.folder)
        arguments.version = arguments.version or run.name
        arguments.name = arguments.name or run.name
        arguments.group = arguments.group or run.experiment
        arguments.tags = [*(arguments.tags or ()), *tags]
        # An agent of a sweep has to see what its runs reach.
        default = "online" if "WANDB_SWEEP_ID" in os.environ else "offline"
        arguments.mode = arguments.mode or os.environ.get("WANDB_MODE", default)


def start_wandb(loggers: Sequence[Logger]) -> None:
    """Starts the W&B run, if there is to be one.

    Args:
        loggers: those of the trainer.
    """
    for logger in loggers:
        if isinstance(logger, BackgroundWandbLogger):
            logger.start()


def finish_wandb(loggers: Sequence[Logger], exit_code: int) -> None:
    """Ends the W&B run, if one was started.

    Args:
        loggers: those of the trainer.
        exit_code: 0 if all went well.
    """
    for logger in loggers:
        if isinstance(logger, BackgroundWandbLogger):
            logger.finish(exit_code)


def log_evaluation(
    loggers: Sequence[Logger],
    confusion: NDArray[np.int64],
    class_names: Sequence[str],
    mistakes: Sequence[PicturedMistake],
) -> None:
    """Shows in W&B what was mistaken for what, and the worst mistakes.

    Args:
        loggers: those of the trainer.
        confusion: how often each class (row) was taken for each (column).
        class_names: names of the classes.
        mistakes: the worst ones.
    """
    for logger in loggers:
        if isinstance(logger, BackgroundWandbLogger):
            logger.log_evaluation(confusion, class_names, [(m.pixels, m.truth, m.prediction, m.loss) for m in mistakes])
