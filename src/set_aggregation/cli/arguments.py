"""Options of the command line in addition to those of Lightning, the model and the data, and their effects."""

import difflib
import json
import os
import re
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.cli import LightningArgumentParser

from set_aggregation.callbacks import BestCheckpoint, LearningCurves, NonFinite, Recovery
from set_aggregation.loggers import MetricsFile, SafeWandbLogger
from set_aggregation.loggers.wandb import PROJECT
from set_aggregation.runs.checkpoint import read_checkpoint
from set_aggregation.runs.directory import RunDirectory
from set_aggregation.runs.settings import WIDTH_KEYS

_SHORT = {  # class names that would need more arguments
    r"^(--trainer\.logger\+?=)?((CSV|TensorBoard)Logger)$": r'\1{"class_path": "\2", "init_args": {"save_dir": "."}}',
    r"^(--model\.scheduler=)?ReduceLROnPlateau$": r"\1torch.optim.lr_scheduler.ReduceLROnPlateau",
}


def add_arguments(parser: LightningArgumentParser) -> None:
    """Link the data to the model and add the options of every run."""
    parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
    parser.link_arguments("data.image_size", "model.image_size", apply_on="instantiate")
    parser.link_arguments("data.in_channels", "model.backbone.init_args.in_channels", apply_on="instantiate")
    parser.add_class_arguments(RunDirectory, "run", instantiate=False)
    parser.add_lightning_class_args(LearningCurves, "curves")
    parser.add_lightning_class_args(Recovery, "recovery")
    parser.add_lightning_class_args(NonFinite, "non_finite")
    parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
    parser.set_defaults({"checkpoint.monitor": "val/accuracy", "checkpoint.mode": "max"})
    parser.set_defaults({"checkpoint.filename": "best", "checkpoint.enable_version_counter": False})
    path_help = "The checkpoint that validate and test measure; fit starts a new run from it."
    parser.add_argument("--ckpt_path", type=Path | None, help=path_help)
    resume_help = """The folder of a run to resume; or auto, to resume the interrupted run of this configuration (or of
        this --run.name) if one exists, so that one command starts a run and resumes it."""
    parser.add_argument("--resume", type=Literal["auto"] | Path | None, help=resume_help)
    width_help = """Number of inputs of the last dense layer (the size in the paper's tables): hidden_features of the
        model if set, else out_features of the aggregator."""
    parser.add_argument("--width", type=PositiveInt | None, help=width_help)
    parser.add_argument("--test_after_fit", type=bool, default=True, help="Test the best checkpoint at the end of fit.")
    last_help = "Test the weights of the last epoch, too, at the end of fit."
    parser.add_argument("--test_last", type=bool, default=False, help=last_help)


def checked_words(words: Sequence[str]) -> list[str]:
    """Return a command line in which file loggers and ReduceLROnPlateau can be given by name alone."""
    configs = [index for index, word in enumerate(words) if word in ("-c", "--config") or word.startswith("--config=")]
    for index, word in enumerate(words[: configs[-1]] if configs else ()):
        if word.startswith("--") and index not in configs:
            option = word.split("=")[0]
            raise ArgumentError(None, f"got {option} before --config, whose file would override it; put --config first")
    for pattern, replacement in _SHORT.items():
        words = [re.sub(pattern, replacement, word) for word in words]
    return list(words)


def with_config(words: list[str]) -> list[str]:
    """Return a command line whose configuration, if it names none, is that of its checkpoint."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("-c", "--config", "--ckpt_path"):
        parser.add_argument(option)
    given, _ = parser.parse_known_args(words)
    if given.c or given.config or not given.ckpt_path:
        return words
    saved = read_checkpoint(Path(given.ckpt_path))
    training = saved.get("training", {})
    if "hyper_parameters" not in saved or "data_class" not in training:
        raise ValueError(f"got {given.ckpt_path}, which does not name its data; add --config RUN/config.yaml")
    data = {"class_path": training["data_class"], "init_args": training["data_settings"]}
    linked = ("num_classes", "image_size", "in_channels", "init_from", "_instantiator")
    model = {name: value for name, value in saved["hyper_parameters"].items() if name not in linked}
    backbone = model["backbone"]
    init_args = {name: value for name, value in backbone.get("init_args", {}).items() if name not in linked}
    model["backbone"] = {**backbone, "init_args": init_args}
    return ["--config", json.dumps({"model": model, "data": data}), *words]


def complete(config: Namespace) -> None:
    """Check a configuration, and apply ``--width`` to its model."""
    for option in ("experiment", "name"):
        value = config.run[option]
        # `curves` and `--resume auto` skip folders that start with a dot.
        if value is not None and (Path(value).name != value or value != value.strip() or value[:1] in "."):
            raise ValueError(f"got --run.{option} {value!r}, expected the name of one folder, not hidden; use letters")
    if batches := config.trainer.overfit_batches:
        raise ValueError(
            f"got --trainer.overfit_batches {batches}, which replaces the sampler of the data; expected "
            "--data.num_train, such as the images of two batches"
        )
    if config.width is not None:
        if (key := _width_key(config)) is None:
            raise ValueError(
                f"got --width {config.width} for {_class_name(config.model.aggregator)} without a hidden layer, "
                "expected an aggregator with out_features, a hidden layer (--model.hidden_features), or --width null"
            )
        config[key], config.width = int(config.width), None


def tags(config: Namespace) -> list[str]:
    """Return the tags of a run, such as ``["SAN", "CIFAR10", "width 1024"]``."""
    key = _width_key(config)
    return [*map(_class_name, (config.model.aggregator, config.data)), *([f"width {config[key]}"] if key else ())]


def put_into(run: RunDirectory, logger: Namespace, tags: Sequence[str]) -> None:
    """Make a logger write into the folder of a run; W&B is offline unless its environment variables differ."""
    name, arguments = logger.class_path.rsplit(".", 1)[-1], logger.init_args
    if name == "TensorBoardLogger" and not (find_spec("tensorboard") or find_spec("tensorboardX")):
        raise ValueError("got TensorBoardLogger, expected tensorboard or tensorboardX; do `pip install tensorboard`")
    if name in ("CSVLogger", "TensorBoardLogger"):
        arguments.save_dir, arguments.name, arguments.version = str(run.root), run.experiment, run.name
    if name == "CSVLogger":
        logger.class_path = f"{MetricsFile.__module__}.{MetricsFile.__name__}"
    if name in ("WandbLogger", SafeWandbLogger.__name__):
        logger.class_path = f"{SafeWandbLogger.__module__}.{SafeWandbLogger.__name__}"
        arguments.save_dir = str(run.folder)
        arguments.project = arguments.project or os.environ.get("WANDB_PROJECT") or PROJECT
        arguments.name = arguments.name or os.environ.get("WANDB_NAME") or run.name
        arguments.group = arguments.group or os.environ.get("WANDB_RUN_GROUP") or run.experiment
        of_environment = [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]
        arguments.tags = [*(arguments.tags or ()), *of_environment, *tags]
        # The agent of a sweep must see the metrics of its runs.
        default = "online" if "WANDB_SWEEP_ID" in os.environ else "offline"
        arguments.mode = arguments.mode or os.environ.get("WANDB_MODE") or default


def check_callbacks(callbacks: Iterable[Callback], scheduler: Namespace | None) -> None:
    """Refuse callbacks that do not work here, metrics that no run logs, and the wrong direction of a metric."""
    arguments = {} if scheduler is None else scheduler.init_args
    monitors = [(arguments.get("monitor"), arguments.get("mode"))]
    for callback in callbacks:
        monitors.append((getattr(callback, "monitor", None), getattr(callback, "mode", None)))
        if isinstance(callback, BatchSizeFinder | LearningRateFinder):
            raise ValueError(
                f"got the callback {type(callback).__name__}, whose search no run resumes; try values of "
                "--data.batch_size or --model.optimizer.lr with --trainer.max_steps"
            )
    known = [f"{part}/{name}" for part in ("train", "val") for name in ("loss", "accuracy")]
    known += [f"curve/{part}_{name}" for part in ("train", "val", "test") for name in ("loss", "accuracy")]
    known.append("curve/gap")
    for name, mode in monitors:
        if name is None:
            continue
        if name not in known and not name.startswith(("val/accuracy/", "lr-", "train/learning_rate")):
            close = difflib.get_close_matches(name.replace("_", "/"), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"got the monitor {name}, expected one of {', '.join(known)}{hint}")
        better = "max" if "accuracy" in name else "min" if "loss" in name or "gap" in name else mode
        if mode not in (None, better):
            raise ValueError(f"got the mode {mode} for the monitor {name}, expected {better}")


def _width_key(config: Namespace) -> str | None:
    """Return the setting that is the number of inputs of the last dense layer, or None if the feature map sets it."""
    return next((key for key in WIDTH_KEYS if config.get(key) is not None), None)


def _class_name(part: Namespace) -> str:
    return str(part.class_path).rsplit(".", 1)[-1]
