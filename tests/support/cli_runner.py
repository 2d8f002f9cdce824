"""Runs the command line in this process: a new Python would take ten seconds to import everything."""

import contextlib
import functools
import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import jaxtyping

from set_aggregation.cli import main
from set_aggregation.cli.lightning_cli import SetAggregationCLI

ROOT = Path(__file__).parents[2]
DIGITS = ("--config", str(ROOT / "configs" / "san_digits.yaml"))
CSV = ("--trainer.logger", str(ROOT / "configs" / "logger" / "csv.yaml"))  # W&B takes a second to start
SHORT = (  # a training that takes a second, and has something in every column of metrics.csv
    *("--trainer.max_epochs=2", "--trainer.limit_train_batches=3", "--trainer.log_every_n_steps=1"),
    *("--model.aggregator.out_features=8", "--data.batch_size=32"),
)
REHEARSAL = ("--trainer.fast_dev_run=2", "--trainer.accelerator=cpu")
FEW_IMAGES = ("--data.batch_size=8", "--data.val_size=16")  # as many as the stand-ins for downloads have
_LOGGERS = ("lightning.pytorch", "lightning.fabric")


@functools.cache
def fit_parser():
    """Return the parser of ``fit``; building it takes most of the time of parsing."""
    parsers = []

    def keep(self, parser, args):
        parsers.append(parser)
        raise InterruptedError

    with mock.patch.object(SetAggregationCLI, "parse_arguments", keep), contextlib.suppress(InterruptedError):
        SetAggregationCLI("fit")
    return parsers[0]


class Outcome(NamedTuple):
    """What a person would have seen."""

    code: int
    out: str
    err: str


def environment_of_a_person() -> dict[str, str]:
    """The variables of this process without those of W&B, Lightning and this project."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "SAN_", "PL_"))}


def run_cli(folder: Path, *arguments: str | Path, **environment: str) -> Outcome:
    """Does what ``python main.py ARGUMENTS`` does in a folder, where nobody is logged in anywhere."""
    out, err = io.StringIO(), io.StringIO()
    home = folder.parent / f"{folder.name}_home"
    home.mkdir(exist_ok=True)
    code = 0
    with (
        mock.patch.dict(
            os.environ, {**environment_of_a_person(), "HOME": str(home), "COLUMNS": "200", **environment}, clear=True
        ),
        mock.patch.object(sys, "argv", ["main.py", *map(str, arguments)]),
        mock.patch.object(jaxtyping.config, "jaxtyping_disable", True),  # as people have it
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _lightning_logs_to(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")  # what the program silences comes before this
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does, outside tests
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            _end_wandb_service()
    return Outcome(code, out.getvalue(), err.getvalue())


def files_in(folder: Path) -> set[str]:
    """Every file and folder below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _end_wandb_service():
    """Ends the process that writes W&B's files: it keeps the working folder of the run that started it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


@contextlib.contextmanager
def _lightning_logs_to(stream):
    """Lightning binds its log to the standard error of the time when it is imported."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.StreamHandler(stream)], False
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
