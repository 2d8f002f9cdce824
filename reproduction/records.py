"""``results/*.jsonl``: one line for each finished run or measurement."""

import fcntl
import json
import math
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from set_aggregation.runs.files import atomic_write, fsync

if TYPE_CHECKING:
    import pandas as pd

Measurements = Iterable[tuple[Mapping[str, Any], Callable[[], Mapping[str, float]]]]

_RUN: Mapping[str, type | tuple[type, ...]] = {  # required values of a training
    "settings.preset": str,
    "settings.data": str,
    "settings.backbone": str,
    "settings.aggregator": str,
    "settings.size": int,
    "settings.train_sizes": (str, type(None)),
    "settings.dropout": (int, float),
    "settings.overrides": dict,
    "settings.epochs": int,
    "settings.seed": int,
    "test_accuracy.best": (int, float),
    "test_accuracy.last": (int, float),
    "curves": list,
    "seconds": (int, float),
}
_MEASURED = {  # required values of a measurement, by experiment
    "theorem1": ("settings.elements", "settings.features", "settings.size", "settings.seed", "measured.error"),
    "remark1": ("settings.p", "settings.seed", "measured.difference"),
    "pooling_time": ("settings.size", "measured.ratio"),
}
_ENVIRONMENT = ["environment.commit", "environment.devices", "environment.system", "environment.versions"]


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
    runs: list[dict[str, Any]] = []
    measurements: list[dict[str, Any]] = []
    places: dict[str, str] = {}
    for place, line in _lines(folder):
        first = places.setdefault(key_of(line["settings"]), place)
        if first != place:
            raise ValueError(f"got the settings of {first} again in {place}; remove one of the two lines")
        experiment = line["settings"].get("experiment")
        needed = _RUN if experiment is None else dict.fromkeys(_MEASURED.get(experiment, ()), (int, float))
        _check(place, line, needed)
        (runs if experiment is None else measurements).append({**line, "place": place})
    names = {_short_name(name) for needed in _MEASURED.values() for name in needed}
    columns = [*names, "experiment", "aggregator", "residual", "data", "train_sizes", "place"]
    return Results(_as_runs(runs), _table(measurements, columns))


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
                    f"got no result in line {number} of {file}, expected a JSON object with settings; "
                    "correct or remove the line"
                ) from None
            yield f"{file.stem}:{number}", line


def _check(place: str, line: Mapping[str, Any], needed: Mapping[str, type | tuple[type, ...]]) -> None:
    for name, kind in needed.items():
        value: Any = line
        for part in name.split("."):
            value = value.get(part, "missing") if isinstance(value, dict) else "missing"
        if not isinstance(value, kind) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"got {name} {value!r} in {place}, expected {kind}; correct or remove the line")


def _table(lines: list[dict[str, Any]], columns: Iterable[str]) -> "pd.DataFrame":
    import pandas as pd  # takes a second, which a runner does not need

    table = pd.json_normalize(lines, max_level=1).rename(columns=_short_name)
    return table.assign(**dict.fromkeys({*columns} - {*table.columns}))


def _as_runs(lines: list[dict[str, Any]]) -> "pd.DataFrame":
    parameters = ["parameters.aggregator", "parameters.head"]
    runs = _table(lines, [*map(_short_name, _RUN), "sizes", "place", *parameters, *_ENVIRONMENT])
    runs["overrides"] = runs["overrides"].map(key_of).astype(object)
    runs["train_sizes"] = runs["train_sizes"].fillna("")
    runs["parameters"] = runs[parameters].sum(axis=1, skipna=False)
    runs["score"] = [
        sum(run["sizes"].values()) / len(run["sizes"]) if isinstance(run["sizes"], dict) else run["best"]
        for run in runs.to_dict("records")
    ]
    return runs


def _short_name(name: str) -> str:
    if name == "test_accuracy_per_size.best":
        return "sizes"
    group, _, last = name.rpartition(".")
    return last if group in ("settings", "measured", "test_accuracy") else name
