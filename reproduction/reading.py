"""The lines of ``results/*.jsonl`` as the report uses them: checked, and each with the place where it stands."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from set_aggregation.reports.reading import is_number, short

_SETTINGS = (
    "preset",
    "data",
    "backbone",
    "aggregator",
    "size",
    "train_sizes",
    "dropout",
    "overrides",
    "epochs",
    "seed",
)
_ACCURACIES = ("best", "last")
_CURVES = ("epoch", "train_accuracy", "test_accuracy")
_MEASURED = {  # settings of an experiment, and what it measures
    "theorem1": (("elements", "features", "aggregator", "size", "seed"), "error"),
    "remark1": (("p", "seed"), "difference"),
    "pooling_time": (("data", "train_sizes", "aggregator", "size"), "ratio"),
}


@dataclass(frozen=True)
class FinishedRun:
    """A line of a training.

    Args:
        place: file and number of the line, ``"table2:3"``.
        settings: what identifies the run.
        split: how the images were split.
        test_accuracy: of the weights that are best on the validation set and of those of the last epoch.
        test_accuracy_per_size: the same for each size, ``"16x16"``, of test images.
        curves: what was measured after each epoch.
        parameters: numbers learned by each part of the model.
        seconds: of training.
        environment: where and with what it was made.
    """

    place: str
    settings: Mapping[str, Any]
    split: str
    test_accuracy: Mapping[str, float]
    test_accuracy_per_size: Mapping[str, Mapping[str, float]]
    curves: tuple[Mapping[str, float], ...]
    parameters: Mapping[str, int]
    seconds: float
    environment: Mapping[str, str]

    @property
    def seed(self) -> int:
        """Of its random numbers."""
        return int(self.settings["seed"])


@dataclass(frozen=True)
class Measurement:
    """A line of an experiment that trains no network.

    Args:
        place: file and number of the line.
        settings: what identifies the measurement.
        measured: its outcome.
        seconds: that it took.
        environment: where and with what it was made.
    """

    place: str
    settings: Mapping[str, Any]
    measured: Mapping[str, float]
    seconds: float
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Results:
    """All lines.

    Args:
        runs: those of trainings.
        measurements: those of experiments that train none.
    """

    runs: tuple[FinishedRun, ...]
    measurements: tuple[Measurement, ...]


def read(folder: Path) -> Results:
    """Reads all files of results. A line without its end is still being written, and does not count.

    Args:
        folder: ``results/``; where it is not there, there are none.

    Raises:
        ValueError: a line that cannot be used, or two of one run.
    """
    runs, measurements = [], []
    places: dict[str, str] = {}
    for file in sorted(folder.glob("*.jsonl")):
        *whole, _ = file.read_bytes().split(b"\n")
        for number, text in enumerate(whole, start=1):
            place = f"{file.stem}:{number}"
            try:
                line = _result(place, text)
            except ValueError as error:
                raise ValueError(f"{error}, in line {number} of {file}; mend or remove the line") from error
            first = places.setdefault(_canonical(line.settings), place)
            if first != place:
                raise ValueError(
                    f"got the settings of {first} again in {place} ({file}), expected one line for each run; "
                    "remove one of them"
                )
            if isinstance(line, FinishedRun):
                runs.append(line)
            else:
                measurements.append(line)
    return Results(tuple(runs), tuple(measurements))


def _canonical(settings: Mapping[str, Any]) -> str:
    """The same text for equal settings, of which 1 and 1.0 are."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return json.dumps(plain(dict(settings)), sort_keys=True)


def _result(place: str, text: bytes) -> FinishedRun | Measurement:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise ValueError(f"got {short(text.decode(errors='replace'))!r}, expected a JSON object")
    settings = _mapping(line, "settings")
    seconds = _numbers(line, ("seconds",))["seconds"]
    environment = {name: str(value) for name, value in _mapping(line, "environment", {}).items()}
    if "experiment" in settings:
        needed, outcome = _MEASURED.get(settings["experiment"], ((), None))
        _check_names(settings, needed)
        measured = _mapping(line, "measured")
        numbers = _numbers(measured, () if outcome is None else (outcome,))
        return Measurement(place, settings, numbers, seconds, environment)
    _check_names(settings, _SETTINGS)
    _mapping(settings, "overrides")
    if type(settings["seed"]) is not int or type(settings["epochs"]) is not int:
        raise ValueError(f"got seed {settings['seed']} and epochs {settings['epochs']}, expected whole numbers")
    curves = line.get("curves", [])
    if not isinstance(curves, list) or not all(isinstance(row, dict) for row in curves):
        raise ValueError(f"got curves {short(curves)}, expected a list of mappings")
    accuracies = _mapping(line, "test_accuracy_per_size", {})
    return FinishedRun(
        place=place,
        settings=settings,
        split=str(line.get("split")),
        test_accuracy=_numbers(_mapping(line, "test_accuracy"), _ACCURACIES),
        test_accuracy_per_size={kind: _numbers(_mapping(accuracies, kind)) for kind in accuracies},
        curves=tuple(_numbers(row, _CURVES) for row in curves),
        parameters={name: int(number) for name, number in _numbers(_mapping(line, "parameters", {})).items()},
        seconds=seconds,
        environment=environment,
    )


def _check_names(settings: Mapping[str, Any], needed: Sequence[str]) -> None:
    if missing := next((name for name in needed if name not in settings), None):
        raise ValueError(f"got settings without {missing}, expected {', '.join(needed)}")


def _mapping(line: Mapping[str, Any], name: str, default: Any = None) -> Mapping[str, Any]:
    value = line.get(name, default)
    if not isinstance(value, dict):
        raise ValueError(f"got {name} {short(value)}, expected a mapping")
    return value


def _numbers(values: Mapping[str, Any], needed: Sequence[str] = ()) -> dict[str, float]:
    """The finite numbers, among which some must be: the loss of a run that diverged need not."""
    if wrong := next((name for name in needed if not is_number(values.get(name))), None):
        raise ValueError(f"got {wrong} {short(values.get(wrong))}, expected a finite number")
    return {name: value for name, value in values.items() if is_number(value)}
