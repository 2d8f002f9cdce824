"""The table and the commands that the console shows at the end of training."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import SupportsFloat

from rich.console import Console
from rich.table import Table


def print_summary(rows: Mapping[str, str], commands: Mapping[str, str]) -> None:
    """Print a table of results, then the next commands."""
    console = Console()
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for purpose, command in commands.items():
        console.print(f"{purpose}:\n  {command}", soft_wrap=True, highlight=False, markup=False)


def test_rows(metrics: Mapping[str, SupportsFloat], weights: str) -> dict[str, str]:
    """Return the rows of the test: accuracy on all images, then at each size."""
    sizes = {f"test/accuracy/{size}": accuracy for size, accuracy in accuracy_by_size(metrics).items()}
    values = {"test/accuracy": float(metrics["test/accuracy"]), **sizes}
    return {f"{name}, {weights}": f"{value:.4f}" for name, value in values.items()}


def accuracy_by_size(metrics: Mapping[str, SupportsFloat]) -> dict[str, float]:
    """Return the test accuracy at each size, such as ``"8x12"``, by number of pixels."""
    start = "test/accuracy/"
    sizes = {name.removeprefix(start): float(value) for name, value in metrics.items() if name.startswith(start)}
    return dict(sorted(sizes.items(), key=lambda item: (math.prod(map(int, item[0].split("x"))), item[0])))


def next_commands(folder: Path, url: str | None, checkpoint: str) -> dict[str, str]:
    """Return commands to look at a run, to send it to W&B and to test it again; the first sets ``RUN`` for all."""
    name = shlex.quote(relative(folder))
    run = "$RUN" if name == relative(folder) else '"$RUN"'
    commands = {"everything is in": f"RUN={name}"}
    if (folder / "report.html").exists():
        commands["read about it in a browser"] = relative(folder / "report.html")
    if url:
        commands["look at the curves"] = url
    elif any(folder.glob("wandb/offline-run-*")):
        commands["look at the curves"] = f"wandb leet {run}/wandb"
        commands["send them to W&B"] = f"wandb sync {run}/wandb/offline-run-*"
    if checkpoint:
        path = Path(checkpoint).absolute()
        is_inside = path.is_relative_to(folder.absolute())
        file = f"{run}/{path.relative_to(folder.absolute())}" if is_inside else shlex.quote(relative(path))
        commands["test it again"] = f"python main.py test --ckpt_path {file}"
    return commands


def relative(path: Path) -> str:
    """Return a path relative to the working folder if it is below it, else the absolute path."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
