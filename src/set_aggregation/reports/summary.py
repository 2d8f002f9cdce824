"""What a person sees at the end of training."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lightning.pytorch.loggers import Logger
from rich.console import Console
from rich.table import Table
from torch import Tensor

from set_aggregation.callbacks import RunDirectory
from set_aggregation.loggers.wandb import BackgroundWandbLogger


def print_summary(rows: Mapping[str, str], commands: Mapping[str, str]) -> None:
    """Prints a table of results, then the commands to go on with.

    Args:
        rows: name and value of each result.
        commands: what each command does, and the command; these are not wrapped, so that they can be copied.
    """
    console = Console()
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for purpose, command in commands.items():
        console.print(f"{purpose}:\n  {command}", soft_wrap=True, highlight=False, markup=False)


def test_rows(metrics: Mapping[str, Tensor], weights: str) -> dict[str, str]:
    """The rows of the test: accuracy of all images, then of each size.

    Args:
        metrics: what was logged.
        weights: which weights were tested.
    """
    name = "test/accuracy"
    sizes = sorted((key for key in metrics if key.startswith(f"{name}/")), key=_height_and_width)
    return {f"{key}, {weights}": f"{metrics[key]:.4f}" for key in (name, *sizes)}


def next_commands(run: RunDirectory, loggers: Iterable[Logger], checkpoint: str) -> dict[str, str]:
    """Where the run lies, and the commands to look at it and to test it again.

    Args:
        run: the folder of the run.
        loggers: those of the trainer; a W&B run among them can be looked at, and sent where it is offline.
        checkpoint: path of the best checkpoint, empty without one.
    """
    commands = {"everything lies in": relative(run.folder)}
    if run.report.exists():
        commands["read about it in a browser"] = relative(run.report)
    for logger in loggers:
        if isinstance(logger, BackgroundWandbLogger) and logger.offline_folder:
            folder = relative(logger.offline_folder)
            commands["look at the curves"] = f"wandb leet {folder}"
            commands["send them to W&B"] = f"wandb sync {folder}"
        elif isinstance(logger, BackgroundWandbLogger) and logger.url:
            commands["look at the curves"] = logger.url
    if checkpoint:
        arguments = f"--config {relative(run.config_file)} --ckpt_path {relative(Path(checkpoint))}"
        commands["test it again"] = f"python main.py test {arguments}"
    return commands


def _height_and_width(metric: str) -> list[int]:
    return [int(side) for side in metric.rsplit("/", 1)[-1].split("x")]


def relative(path: Path) -> str:
    """A path as short as it can be typed from the working folder."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
