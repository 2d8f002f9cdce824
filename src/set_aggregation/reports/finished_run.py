"""Finished runs, read from their folders."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from set_aggregation.reports.settings import settings_of

_NEEDED = {"aggregator": str, "data": str, "width": int, "seed": int, "epochs": int, "curves": list}
_IN_WORDS = {str: "a text", int: "a whole number", list: "a list"}
_MEASURED = ("epoch", "curve/train_accuracy", "curve/test_accuracy", "curve/train_loss", "curve/test_loss")
_NOT_BELOW_A_RUN = ("checkpoints", "wandb")  # W&B writes a config.yaml of its own
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast


class UnusableRunError(ValueError):
    """A folder without a finished run; the message is the reason."""


@dataclass(frozen=True)
class Run:
    """Settings and measurements of a finished run.

    Args:
        folder: its folder.
        aggregator: name of its class.
        data: name of the class of its data module.
        width: the size in the paper's tables.
        seed: of its random numbers.
        epochs: number of trained epochs.
        settings: all others that can change a result, from :func:`~.settings.settings_of`.
        history: a row for each measured epoch.
        parameters: number of trained parameters; None if unknown.
        best_test: test accuracy of the weights with the best validation accuracy; None without a test.
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


@dataclass(frozen=True)
class Skipped:
    """A folder that is left out.

    Args:
        folder: its path.
        reason: why.
    """

    folder: Path
    reason: str


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[Skipped]]:
    """Read every run in or below some folders, each once."""
    runs: list[Run] = []
    skipped: list[Skipped] = []
    seen: set[Path] = set()
    for top in folders:
        found = list(_below(top))
        if not found:
            skipped.append(Skipped(top, "got no config.yaml in it or below, expected the folder of a run"))
        for each in found:
            folder = each.folder if isinstance(each, Skipped) else each
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            if isinstance(each, Skipped):
                skipped.append(each)
                continue
            try:
                runs.append(read_run(folder))
            except UnusableRunError as error:
                skipped.append(Skipped(folder, str(error)))
    return runs, skipped


def read_run(folder: Path) -> Run:
    """Read a run."""
    results_file = folder / "results.json"
    if not results_file.exists():
        raise UnusableRunError("unfinished: got no results.json, which is written when a training ends")
    results, config = _read_mapping(results_file), _read_mapping(folder / "config.yaml")
    for name, kind in _NEEDED.items():
        if type(results.get(name)) is not kind:  # True is an int, but no width
            got = f"{name} {short(results[name])}" if name in results else f"no {name}"
            raise UnusableRunError(f"broken: got {got} in results.json, expected {_IN_WORDS[kind]}")
    number = _part(results, "parameters").get("all")
    test: Any = _part(results, "metrics").get("test/accuracy")
    return Run(
        folder=folder,
        **{name: results[name] for name in _NEEDED if name != "curves"},
        settings=settings_of(config),
        history=_checked(results["curves"], results["epochs"], _part(config, "curves").get("every_n_epochs")),
        parameters=number if type(number) is int else None,
        best_test=float(test) if is_number(test) and _part(results, "best") else None,
        started=_started(results_file),
    )


def is_number(value: object) -> bool:
    """Return whether a value of a file is a finite number; True is not."""
    return type(value) in (int, float) and -1e300 < value < 1e300  # type: ignore[operator]


def short(value: object) -> str:
    """Return a value as text on one line.

    Example:
        >>> short("two\\nlines")
        'two lines'
    """
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def _below(top: Path) -> Iterator[Path | Skipped]:
    """Return the folders of runs, and those that cannot be read; links are followed once."""
    waiting, visited = [top], set()
    while waiting:
        folder = waiting.pop()
        if folder.resolve() in visited:
            continue
        visited.add(folder.resolve())
        try:
            inside = sorted(folder.iterdir())
        except OSError as error:
            yield Skipped(folder, f"cannot be read ({error.strerror})")
            continue
        names = {path.name for path in inside}
        is_run = bool(names & {"config.yaml", "results.json"})
        if is_run:
            yield folder
        waiting += [
            path
            for path in reversed(inside)
            if path.is_dir() and not path.name.startswith(".") and not (is_run and path.name in _NOT_BELOW_A_RUN)
        ]


def _read_mapping(file: Path) -> dict[str, Any]:
    """Read a file of JSON or YAML."""
    kind = "JSON" if file.suffix == ".json" else "YAML"
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if kind == "JSON" else yaml.load(text, _YAML)
    except FileNotFoundError as error:
        raise UnusableRunError(f"broken: got no {file.name}, expected one beside its other files") from error
    except OSError as error:
        raise UnusableRunError(f"broken: got {file.name}, which cannot be read ({error.strerror})") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UnusableRunError(f"broken: got {file.name}, which is not {kind} ({short(error)})") from error
    if not isinstance(content, dict):
        raise UnusableRunError(f"broken: got {file.name} with {short(content)}, expected a mapping")
    return content


def _part(container: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a mapping inside another, empty if there is none."""
    value = container.get(name)
    return value if isinstance(value, dict) else {}


def _checked(curves: list[Any], trained: int, every: object) -> tuple[Mapping[str, float], ...]:
    """Return the curves after a check that every number is there and finite."""
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
    # A training that ended early may lack its last epoch: only every n-th was measured.
    if epochs[-1] + (every if type(every) is int else 1) <= trained:
        raise UnusableRunError(f"broken: got curves up to epoch {epochs[-1]} of {trained}, expected them to the end")
    return tuple(curves)


def _started(results_file: Path) -> float:
    """Return the time in the folder's name, which survives a copy, or else that of the results."""
    try:
        return datetime.strptime(results_file.absolute().parent.name[:19], "%Y-%m-%d_%H-%M-%S").timestamp()
    except ValueError:
        return results_file.stat().st_mtime
