"""``results/*.jsonl``: one line for each finished run or measurement."""

import fcntl
import json
import math
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from set_aggregation.reports.summary import accuracy_by_size
from set_aggregation.runs.files import atomic_write, fsync

if TYPE_CHECKING:
    import pandas as pd

Measurements = Iterable[tuple[Mapping[str, Any], Callable[[], Mapping[str, float]]]]

ENVIRONMENT = ("commit", "devices", "system", "versions")
_RUN = ("preset", "data", "backbone", "aggregator", "size", "train_sizes", "dropout", "overrides", "epochs", "seed")
_NUMBERS: Mapping[str | None, Sequence[str]] = {  # that a line must have, by experiment
    None: ("size", "dropout", "epochs", "seed", "best", "last"),  # a training
    "theorem1": ("elements", "features", "size", "seed", "error", "residual"),
    "remark1": ("p", "seed", "difference"),
    "pooling_time": ("size", "ratio"),
}
_OTHERS = ("experiment", "sizes", "score", "parameters", "curves", "seconds", "place", *ENVIRONMENT)
_COLUMNS = [*dict.fromkeys((*_RUN, *chain(*_NUMBERS.values()), *_OTHERS))]


class Results(NamedTuple):
    """Tables of all lines; the column ``place`` has file and line number."""

    # Trainings: settings, best and last test accuracy, sizes (test accuracy at each), score (their mean, or best), ...
    runs: "pd.DataFrame"
    measurements: "pd.DataFrame"  # settings and measured values of what trains no network


def key_of(settings: Mapping[str, Any]) -> str:
    """Return a text that identifies settings; 0 and 0.0 are equal."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(each) for name, each in value.items()}
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return json.dumps(plain(settings), sort_keys=True)


def keys(folder: Path) -> set[str]:
    """Return the keys of all lines of a folder."""
    return {key_of(line["settings"]) for _, line in _lines(folder)}


def append(file: Path, line: Mapping[str, Any]) -> bool:
    """Append a line atomically and durably, unless a file of the folder has its settings."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with (file.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if key_of(line["settings"]) in keys(file.parent):
            return False
        lines = file.read_text().splitlines() if file.exists() else []
        with atomic_write(file) as temporary:
            temporary.write_text("".join(f"{each}\n" for each in (*lines, json.dumps(line, sort_keys=True))))
            fsync(temporary)
        fsync(file.parent)
    return True


def read(folder: Path) -> Results:
    """Read and check all lines of a folder."""
    import pandas as pd  # takes a second, which a runner does not need

    rows: list[dict[str, Any]] = []
    places: dict[str, str] = {}
    for place, line in _lines(folder):
        first = places.setdefault(key_of(line["settings"]), place)
        if first != place:
            raise ValueError(f"got the settings of {first} again in {place}; remove one of the two lines")
        row = {**line["settings"], **line.get("measured", {}), **line.get("test_accuracy", {}), "place": place}
        for name in _NUMBERS.get(row.get("experiment"), ()):
            if not isinstance(row.get(name), int | float) or not math.isfinite(row[name]):
                raise ValueError(f"got {name} {row.get(name)!r} in {place}, expected a number; remove the line")
        sizes = line.get("test_accuracy_per_size", {}).get("best")
        parameters = [line.get("parameters", {}).get(part, math.nan) for part in ("aggregator", "head")]
        row |= {
            "train_sizes": row.get("train_sizes") or "",
            "overrides": key_of(row.get("overrides") or {}),
            "sizes": sizes,
            "score": fmean(sizes.values()) if sizes else row.get("best"),
            "curves": line.get("curves"),
            "parameters": sum(parameters),
            "seconds": line["seconds"],
        }
        rows.append(row | {name: line["environment"].get(name) for name in ENVIRONMENT})
    kinds = ([row for row in rows if ("experiment" in row) == kind] for kind in (False, True))
    return Results(*(pd.DataFrame(of_kind, columns=_COLUMNS) for of_kind in kinds))


def run_line(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the line of a finished run."""
    file = folder / "results.json"
    results = json.loads(file.read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    weights = {"best": results["metrics"], "last": results["last"]}
    per_size = {which: accuracy_by_size(metrics) for which, metrics in weights.items()}
    command = shlex.split(results["environment"]["command"])
    return {
        "settings": dict(settings),
        "split": config["data"]["init_args"].get("split", "paper"),  # digits has no other
        "test_accuracy": {which: metrics["test/accuracy"] for which, metrics in weights.items()},
        "test_accuracy_per_size": per_size if per_size["best"] else {},
        "val_accuracy": {which: results[which]["val/accuracy"] for which in ("best", "last")},
        "best_epoch": results["best"]["epoch"],
        "curves": [{name.removeprefix("curve/"): value for name, value in row.items()} for row in results["curves"]],
        "parameters": results["parameters"],
        "seconds": results["seconds"]["all"],
        "finished": f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "environment": {
            **results["environment"],
            "command": shlex.join(word for word in command if not word.startswith("--run.root=")),
        },
    }


def measure(measurements: Measurements, file: Path, environment: Mapping[str, str]) -> None:
    """Make the missing measurements and append a line for each."""
    done = keys(file.parent)
    for settings, call in measurements:
        if key_of(settings) in done:
            continue
        started = time.perf_counter()
        measured = call()
        line = {
            "settings": settings,
            "measured": measured,
            "seconds": time.perf_counter() - started,
            "finished": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "environment": {**environment, "command": f"python -m reproduction run {file.stem}"},
        }
        append(file, line)
        print(", ".join(f"{name} {value}" for name, value in settings.items()), measured, flush=True)  # noqa: T201


def _lines(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(folder.glob("*.jsonl")):
        for number, text in enumerate(file.read_text().splitlines(), start=1):
            try:
                line = json.loads(text)
                line["settings"].items()
            except (ValueError, TypeError, LookupError, AttributeError):
                raise ValueError(
                    f"got no result in line {number} of {file}, expected a JSON object with settings; remove the line"
                ) from None
            yield f"{file.stem}:{number}", line
