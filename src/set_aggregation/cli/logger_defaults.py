"""Defaults of loggers: their folder, and W&B offline unless its environment variables differ."""

import os
from collections.abc import Sequence
from importlib.util import find_spec

from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger

from set_aggregation.loggers import MetricsFile, SafeWandbLogger
from set_aggregation.loggers.wandb import PROJECT
from set_aggregation.runs.directory import RunDirectory


def put_into(run: RunDirectory, logger: Namespace, tags: Sequence[str]) -> None:
    """Make a logger write into the folder of a run."""
    name, arguments = logger.class_path.rsplit(".", 1)[-1], logger.init_args
    if name == "TensorBoardLogger" and not (find_spec("tensorboard") or find_spec("tensorboardX")):
        raise ValueError("got TensorBoardLogger, expected tensorboard or tensorboardX; do `pip install tensorboard`")
    if name in ("CSVLogger", "TensorBoardLogger"):
        arguments.save_dir, arguments.name, arguments.version = str(run.root), run.experiment, run.name
    if name == "CSVLogger":
        logger.class_path = f"{MetricsFile.__module__}.{MetricsFile.__name__}"
    if name in ("WandbLogger", SafeWandbLogger.__name__):
        logger.class_path = f"{SafeWandbLogger.__module__}.{SafeWandbLogger.__name__}"
        environ = os.environ
        arguments.save_dir = str(run.folder)
        arguments.project = arguments.project or environ.get("WANDB_PROJECT") or PROJECT
        arguments.name = arguments.name or environ.get("WANDB_NAME") or run.name
        arguments.group = arguments.group or environ.get("WANDB_RUN_GROUP") or run.experiment
        of_environment = [tag for tag in environ.get("WANDB_TAGS", "").split(",") if tag]
        arguments.tags = [*(arguments.tags or ()), *of_environment, *tags]
        # The agent of a sweep must see the metrics of its runs.
        default = "online" if "WANDB_SWEEP_ID" in environ else "offline"
        arguments.mode = arguments.mode or environ.get("WANDB_MODE") or default


def wandb_loggers(loggers: Sequence[Logger]) -> list[SafeWandbLogger]:
    """Return the W&B loggers among some loggers."""
    return [logger for logger in loggers if isinstance(logger, SafeWandbLogger)]
