"""A finished run, as its folder tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from set_aggregation.reports.reading import UnusableRunError, is_number, part, read_mapping, short
from set_aggregation.reports.settings import settings_of

_NEEDED = {"aggregator": str, "data": str, "width": int, "seed": int, "epochs": int, "curves": list}
_IN_WORDS = {str: "a text", int: "a whole number", list: "a list"}
_MEASURED = ("epoch", "curve/train_accuracy", "curve/test_accuracy", "curve/train_loss", "curve/test_loss")


@dataclass(frozen=True)
class Run:
    """What a finished run did and measured.

    Args:
        folder: where it lies.
        aggregator: name of its class.
        data: name of the class of its data module.
        width: the size in the paper's tables.
        seed: of its random numbers.
        epochs: how many it trained.
        settings: all others that can change a result, from :func:`~.settings.settings_of`.
        history: what :class:`~set_aggregation.callbacks.LearningCurves` measured, by epoch.
        parameters: how many numbers it learned; None where that was not written down.
        best_test: accuracy on the test set of the weights that were best on the validation set; None without a test.
        started: seconds since 1970.
    """

    folder: Path
    aggregator: str
    data: str
    width: int
    seed: int
    epochs: int
    settings: Mapping[str, str]
    history: tuple[Mapping[str, float], ...]
    parameters: int | None
    best_test: float | None
    started: float


def read_run(folder: Path) -> Run:
    """Reads a run.

    Args:
        folder: the folder of the run, with its ``config.yaml`` and ``results.json``.

    Raises:
        UnusableRunError: it is unfinished or broken.
    """
    results_file = folder / "results.json"
    if not results_file.exists():
        raise UnusableRunError("unfinished: got no results.json, which is written when a training ends")
    results, config = read_mapping(results_file), read_mapping(folder / "config.yaml")
    for name, kind in _NEEDED.items():
        if type(results.get(name)) is not kind:  # True is an int, but no width
            got = f"{name} {short(results[name])}" if name in results else f"no {name}"
            raise UnusableRunError(f"broken: got {got} in results.json, expected {_IN_WORDS[kind]}")
    number = part(results, "parameters").get("all")
    test: Any = part(results, "metrics").get("test/accuracy")
    return Run(
        folder=folder,
        **{name: results[name] for name in _NEEDED if name != "curves"},
        settings=settings_of(config),
        history=_checked(results["curves"], results["epochs"], part(config, "curves").get("every_n_epochs")),
        parameters=number if type(number) is int else None,
        best_test=float(test) if is_number(test) and part(results, "best") else None,
        started=_started(results_file),
    )


def _checked(curves: list[Any], trained: int, every: object) -> tuple[Mapping[str, float], ...]:
    """The curves, of which every number is there and can be drawn."""
    if not curves:
        raise UnusableRunError(
            f"broken: got no curves in results.json and --curves.every_n_epochs {every}, expected curves; train it "
            "with --curves.every_n_epochs 1"
        )
    for number, row in enumerate(curves, 1):
        where = f"row {number} of the curves in results.json"
        if not isinstance(row, dict):
            raise UnusableRunError(f"broken: got {short(row)} as {where}, expected a mapping")
        if missing := next((name for name in _MEASURED if name not in row), None):
            raise UnusableRunError(f"broken: got no {missing} in {where}, expected a number")
        if wrong := next((name for name, value in row.items() if not is_number(value)), None):
            raise UnusableRunError(f"broken: got {wrong} {short(row[wrong])} in {where}, expected a finite number")
    epochs = [row["epoch"] for row in curves]
    if epochs != sorted(set(epochs)) or epochs[0] < 1 or not all(type(epoch) is int for epoch in epochs):
        raise UnusableRunError(f"broken: got the epochs {short(epochs)} in results.json, expected them rising from 1")
    # The last epoch need not be there: of a training that ended early only every n-th was measured.
    if epochs[-1] + (every if type(every) is int else 1) <= trained:
        raise UnusableRunError(f"broken: got curves up to epoch {epochs[-1]} of {trained}, expected them to the end")
    return tuple(curves)


def _started(results_file: Path) -> float:
    """By the name of the folder, which outlives a copy; else when the results were written."""
    try:
        return datetime.strptime(results_file.absolute().parent.name[:19], "%Y-%m-%d_%H-%M-%S").timestamp()
    except ValueError:
        return results_file.stat().st_mtime
