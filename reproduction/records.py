"""``results/*.jsonl``: one line for each finished run or measurement."""

import fcntl
import json
import math
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from set_aggregation.runs.files import atomic_write, fsync

if TYPE_CHECKING:
    import pandas as pd

Measurements = Iterable[tuple[Mapping[str, Any], Callable[[], Mapping[str, float]]]]

ENVIRONMENT = ("commit", "devices", "system", "versions")
_RUN = ("preset", "data", "backbone", "aggregator", "size", "train_sizes", "dropout", "overrides", "epochs", "seed")
_NUMBERS: Mapping[str | None, Mapping[str, tuple[str, ...]]] = {  # that a line must have, by experiment
    None: {"settings": ("size", "dropout", "epochs", "seed"), "test_accuracy": ("best", "last")},  # a training
    "theorem1": {"settings": ("elements", "features", "size", "seed"), "measured": ("error", "residual")},
    "remark1": {"settings": ("p", "seed"), "measured": ("difference",)},
    "pooling_time": {"settings": ("size",), "measured": ("ratio",)},
}


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

    lines: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    places: dict[str, str] = {}
    for place, line in _lines(folder):
        first = places.setdefault(key_of(line["settings"]), place)
        if first != place:
            raise ValueError(f"got the settings of {first} again in {place}; remove one of the two lines")
        experiment = line["settings"].get("experiment")
        for group, name in ((group, name) for group, names in _NUMBERS.get(experiment, {}).items() for name in names):
            value = line.get(group, {}).get(name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"got {group}.{name} {value!r} in {place}, expected a number; remove the line")
        lines[experiment is None].append({**line, "place": place})

    def table(kind: bool, columns: Iterable[str]) -> "pd.DataFrame":
        found = pd.json_normalize(lines[kind], max_level=1).rename(columns={"test_accuracy_per_size.best": "sizes"})
        found = found.rename(columns=lambda name: re.sub(r"^(settings|measured|test_accuracy)\.", "", name))
        found = found.reindex(columns=[*columns, "seconds", "place", *(f"environment.{name}" for name in ENVIRONMENT)])
        return found.assign(train_sizes=found["train_sizes"].astype(object).fillna(""))

    parameters = ["parameters.aggregator", "parameters.head"]
    runs = table(True, [*_RUN, "best", "last", "sizes", "curves", *parameters])
    runs["overrides"] = runs["overrides"].map(key_of).astype(object)
    runs["parameters"] = runs[parameters].sum(axis=1, skipna=False)
    each_run = zip(runs["sizes"], runs["best"], strict=True)
    runs["score"] = [fmean(sizes.values()) if isinstance(sizes, dict) else best for sizes, best in each_run]
    of_all = {name for groups in _NUMBERS.values() for names in groups.values() for name in names}
    return Results(runs, table(False, ["experiment", "aggregator", "data", "train_sizes", *sorted(of_all)]))


def run_line(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the line of a finished run."""
    file = folder / "results.json"
    results = json.loads(file.read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    weights = {"best": results["metrics"], "last": results["last"]}
    start = "test/accuracy/"
    per_size = {
        which: {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
        for which, metrics in weights.items()
    }
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
