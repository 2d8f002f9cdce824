"""Finished runs, read from their folders."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from set_aggregation.runs.settings import IRRELEVANT, WIDTH_KEYS, settings_of

_NAMES = ("aggregator", "data", "width", "seed", "epochs")
_NOT_BELOW_A_RUN = ("checkpoints", "wandb")  # W&B writes its own config.yaml
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast


@dataclass(frozen=True)
class Run:
    """Settings and measurements of a finished run."""

    folder: Path
    aggregator: str  # name of its class
    data: str  # name of the class of its data module
    width: int  # the size in the paper's tables
    seed: int
    epochs: int  # that were trained
    settings: Mapping[str, str]  # all others that can change a result
    history: tuple[Mapping[str, float], ...]  # a row for each measured epoch
    parameters: int | None  # trained ones
    best_test: float | None  # test accuracy of the weights with the best validation accuracy; None without a test
    started: float  # seconds since 1970


class Skipped(NamedTuple):
    """Skipped folder and the reason."""

    folder: Path
    reason: str


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[Skipped]]:
    """Read every run in or below folders, each once."""
    runs, skipped, seen = list[Run](), list[Skipped](), set[Path]()

    def skip(error: OSError) -> None:
        skipped.append(Skipped(Path(error.filename), f"cannot be read ({error.strerror})"))

    for top in folders:
        has_run = False
        for path, names, files in os.walk(top, onerror=skip):
            folder = Path(path)
            is_run = not {"config.yaml", "results.json"}.isdisjoint(files)
            hidden = _NOT_BELOW_A_RUN if is_run else ()
            names[:] = sorted(name for name in names if not name.startswith(".") and name not in hidden)
            has_run |= is_run
            if is_run and folder.resolve() not in seen:
                seen.add(folder.resolve())
                try:
                    runs.append(read_run(folder))
                except ValueError as error:
                    skipped.append(Skipped(folder, str(error)))
        if not has_run:
            skipped.append(Skipped(top, "got no config.yaml in it or below, expected the folder of a run"))
    return runs, skipped


def read_run(folder: Path) -> Run:
    """Read a run."""
    file = folder / "results.json"
    if not file.exists():
        raise ValueError("unfinished: got no results.json, which is written when a training ends")
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), _YAML)
        run = Run(
            folder=folder,
            **{name: results[name] for name in _NAMES},
            settings=comparable_settings(config),
            history=tuple(results["curves"]),
            parameters=results.get("parameters", {}).get("all"),
            best_test=results.get("metrics", {}).get("test/accuracy") if results.get("best") else None,
            started=_started(file),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"broken: results.json or config.yaml cannot be read ({reason})") from error
    if not run.history:
        raise ValueError("broken: got no curves in results.json; train it with --curves.every_n_epochs 1")
    return run


def comparable_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that keep runs apart: those that can change a result, except seed and width."""
    settings = settings_of(config, ("seed_everything", *IRRELEVANT))
    width = next((name for name in WIDTH_KEYS if settings.get(name, "null") != "null"), None)
    return settings if width is None else settings | {width: '"width"'}


def _started(results_file: Path) -> float:
    """Return the time in the folder's name, which survives a copy, or else that of the results."""
    try:
        return datetime.strptime(results_file.absolute().parent.name[:19], "%Y-%m-%d_%H-%M-%S").timestamp()
    except ValueError:
        return results_file.stat().st_mtime
