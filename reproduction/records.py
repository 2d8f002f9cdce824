"""``results/*.jsonl``: one line for each finished run or measurement."""

import fcntl
import json
import math
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pandas as pd

Measurements = Iterable[tuple[Mapping[str, Any], Callable[[], Mapping[str, float]]]]

_RUN: Mapping[str, type | tuple[type, ...]] = {  # what a line of a training must have
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
_MEASURED = {  # what a line of a measurement must have, by experiment
    "theorem1": ("settings.elements", "settings.features", "settings.size", "settings.seed", "measured.error"),
    "remark1": ("settings.p", "settings.seed", "measured.difference"),
    "pooling_time": ("settings.size", "measured.ratio"),
}
_ENVIRONMENT = ["environment.commit", "environment.devices", "environment.system", "environment.versions"]


@dataclass(frozen=True)
class Results:
    """All lines as tables, whose column ``place`` names file and line.

    Args:
        runs: trainings. Columns are the settings (``overrides`` as JSON, ``train_sizes`` ``""`` for one size), ``best``
            and ``last`` (test accuracy), ``sizes`` (test accuracy at each size of images), ``curves``, ``parameters``
            (of aggregator and head), ``seconds`` and ``environment.*``.
        measurements: settings and measured values of what trains no network.
    """

    runs: "pd.DataFrame"
    measurements: "pd.DataFrame"


def key_of(settings: Mapping[str, Any]) -> str:
    """Return a text that is the same for equal settings only; 0 and 0.0 are equal.

    Example:
        >>> key_of({"dropout": 0.0, "size": 8})
        '{"dropout": 0, "size": 8}'
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(each) for name, each in value.items()}
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return json.dumps(plain(settings), sort_keys=True)


def keys(folder: Path) -> set[str]:
    """Return the keys of all lines of a folder."""
    return {key_of(line["settings"]) for _, line in _lines(folder)}


def append(file: Path, line: Mapping[str, Any]) -> bool:
    """Append a line atomically and durably, unless a file of the folder has its settings already."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file.parent / ".lock"):
        if key_of(line["settings"]) in keys(file.parent):
            return False
        with file.open("a+b") as opened:
            opened.seek(0)
            content, end = _whole_lines(opened.read())
            opened.truncate(len(content))
            opened.write(end + json.dumps(line, sort_keys=True).encode() + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        folder = os.open(file.parent, os.O_RDONLY)
        os.fsync(folder)  # the file may be new
        os.close(folder)
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
    return Results(_as_runs(runs), _as_measurements(measurements))


def run_line(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the line of a finished run."""
    file = folder / "results.json"
    results = json.loads(file.read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    weights = {"best": results["metrics"], "last": results["last"]}
    per_size = {which: _starting_with("test/accuracy/", metrics) for which, metrics in weights.items()}
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
    """Make the measurements that no line has yet, and append a line for each."""
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
        for number, text in enumerate(b"".join(_whole_lines(file.read_bytes())).splitlines(), start=1):
            try:
                line = json.loads(text)
                line["settings"].items()
            except (ValueError, TypeError, LookupError, AttributeError):
                raise ValueError(
                    f"got no result in line {number} of {file}, expected a JSON object with settings; "
                    "correct or remove the line"
                ) from None
            yield f"{file.stem}:{number}", line


def _whole_lines(content: bytes) -> tuple[bytes, bytes]:
    """Return the whole lines, and the newline that the last one lacks, as some editors leave it.

    What a killed writer left of a line is cut off.
    """
    start = content.rfind(b"\n") + 1
    try:
        json.loads(content[start:])
    except ValueError:
        return content[:start], b""
    return content, b"\n"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check(place: str, line: Mapping[str, Any], needed: Mapping[str, type | tuple[type, ...]]) -> None:
    for name, kind in needed.items():
        value: Any = line
        for part in name.split("."):
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
        if not isinstance(value, kind) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"got {name} {value!r} in {place}, expected {kind}; correct or remove the line")


_MISSING = "missing"


def _as_runs(lines: list[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd  # takes a second, which a runner does not need

    if not lines:
        names = [*(name.rpartition(".")[2] for name in _RUN), "sizes", "parameters", "place", *_ENVIRONMENT]
        return pd.DataFrame(columns=names)
    runs = pd.json_normalize(lines, max_level=1).rename(columns=_short_name)
    runs["overrides"] = runs["overrides"].map(key_of)
    runs["train_sizes"] = runs["train_sizes"].fillna("")
    for name in ("sizes", "parameters.aggregator", "parameters.head", *_ENVIRONMENT):
        if name not in runs:
            runs[name] = None
    runs["parameters"] = runs["parameters.aggregator"] + runs["parameters.head"]
    return runs


def _as_measurements(lines: list[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.json_normalize(lines).rename(columns=_short_name)
    names = {_short_name(name) for needed in _MEASURED.values() for name in needed}
    missing = ({*names, "experiment", "aggregator", "residual", "data", "train_sizes", "place"}) - {*table.columns}
    return table.assign(**dict.fromkeys(missing))


def _short_name(name: str) -> str:
    if name == "test_accuracy_per_size.best":
        return "sizes"
    group, _, last = name.rpartition(".")
    return last if group in ("settings", "measured", "test_accuracy") else name


def _starting_with(start: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
