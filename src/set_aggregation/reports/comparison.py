"""Runs side by side: groups of seeds, in the order of the figure, and the settings by which they differ."""

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from set_aggregation.reports.finished_run import Run, Skipped
from set_aggregation.runs.settings import changed

_ORDER = ("Flatten", "GlobalAvgPool", "GlobalMaxPool", "Conv1x1", "SAN")  # of the columns of the paper's Table 2
_NULL = "null"  # value of a missing setting: versions of the project have different settings

Settings = Mapping[str, str]


class Row(NamedTuple):
    """Runs that differ in width and seed only."""

    data: str
    aggregator: str
    differences: tuple[str, ...]  # each setting by which it differs from other rows of this aggregator on this data
    cells: Mapping[int, tuple[Run, ...]]  # the runs of each width, by seed

    @property
    def label(self) -> str:
        """Aggregator and settings that distinguish this row from the others on the same data."""
        return ", ".join((self.aggregator, *self.differences))

    @property
    def runs(self) -> list[Run]:
        """All runs, by width and seed."""
        return [run for runs in self.cells.values() for run in runs]


class Comparison(NamedTuple):
    """Runs to compare."""

    rows: tuple[Row, ...]  # by data, aggregator as in the paper, and settings
    widths: tuple[int, ...]  # all, rising
    skipped: tuple[Skipped, ...]

    @property
    def num_runs(self) -> int:
        """Number of runs."""
        return sum(len(row.runs) for row in self.rows)

    @property
    def has_seeds(self) -> bool:
        """True if some runs differ only in the seed."""
        return any(len(runs) > 1 for row in self.rows for runs in row.cells.values())


def compare(runs: Sequence[Run], skipped: Sequence[Skipped] = ()) -> Comparison:
    """Group runs, keeping only the newest of those with equal settings and seed."""
    left_out = list(skipped)
    rows: list[Row] = []
    for (data, _, aggregator), group in itertools.groupby(sorted(runs, key=_place), key=_place):
        variants = _variants(group)
        found = differences([variant[0].settings for variant in variants])
        of_one_kind = []
        for variant, difference in zip(variants, found, strict=True):
            kept, repeats = _newest(variant)
            left_out += repeats
            widths = sorted({run.width for run in kept})
            cells = {width: tuple(run for run in kept if run.width == width) for width in widths}
            of_one_kind.append(Row(data, aggregator, difference, cells))
        rows += sorted(of_one_kind, key=lambda row: _natural(row.label))
    return Comparison(
        tuple(rows),
        tuple(sorted({width for row in rows for width in row.cells})),
        tuple(sorted(left_out, key=lambda each: str(each.folder))),
    )


def differences(variants: Sequence[Settings]) -> list[tuple[str, ...]]:
    """Return the settings by which each of several runs differs from the others, as short texts."""
    names = sorted({name for settings in variants for name in settings})
    found = [[name for name in names if _differs(name, settings, variants)] for settings in variants]
    used = sorted({name for names in found for name in names})
    labels = [
        tuple(f"{_short(name, used)}={_plain(name, settings.get(name, _NULL))}" for name in names)
        for settings, names in zip(variants, found, strict=True)
    ]
    if len(set(labels)) == len(variants):
        return labels
    # Classes of the same name in two packages, or a text that looks like a number.
    return [
        tuple(f"{name}={settings.get(name, _NULL)}" for name in names)
        for settings, names in zip(variants, found, strict=True)
    ]


def _place(run: Run) -> tuple[str, int, str]:
    known = run.aggregator in _ORDER
    return run.data, _ORDER.index(run.aggregator) if known else len(_ORDER), run.aggregator


def _variants(runs: Iterable[Run]) -> list[list[Run]]:
    """Return groups of runs that may be averaged."""
    variants: list[list[Run]] = []
    for run in runs:
        alike = next((variant for variant in variants if not changed(variant[0].settings, run.settings)), None)
        if alike is None:
            variants.append([run])
        else:
            alike.append(run)
    return variants


def _newest(runs: Sequence[Run]) -> tuple[list[Run], list[Skipped]]:
    """Return the newest run of each width and seed, and the others."""
    newest: dict[tuple[int, int], Run] = {}
    repeats = []
    for run in sorted(runs, key=lambda run: (run.width, run.seed, -run.started, str(run.folder))):
        kept = newest.setdefault((run.width, run.seed), run)
        if kept is not run:
            newer = "/".join(kept.folder.absolute().parts[-2:])
            reason = f"repeat: has the settings and the seed of {newer}, which is newer"
            repeats.append(Skipped(run.folder, reason))
    return list(newest.values()), repeats


def _natural(text: str) -> list[tuple[float, str]]:
    """Return a sort key that compares numbers in a text by value."""
    return [
        (float(part), "") if index % 2 else (0.0, part)
        for index, part in enumerate(re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text))
    ]


def _differs(name: str, settings: Settings, variants: Sequence[Settings]) -> bool:
    """Return whether a setting differs among the runs whose classes take it."""
    classes = [f"{name[: found.start()]}.class_path" for found in re.finditer(r"\.init_args\.", name)]
    alike = [each for each in variants if all(each.get(key) == settings.get(key) for key in classes)]
    return len({each.get(name, _NULL) for each in alike}) > 1


def _parts(name: str) -> list[str]:
    return [part for part in name.split(".") if part not in ("init_args", "class_path")]


def _short(name: str, names: Sequence[str]) -> str:
    """Return the shortest suffix of a dotted name that no other name has."""
    parts = _parts(name)
    for num in range(1, len(parts)):
        if sum(_parts(other)[-num:] == parts[-num:] for other in names) == 1:
            return ".".join(parts[-num:])
    return ".".join(parts)


def _plain(name: str, text: str) -> str:
    value = json.loads(text)
    if not isinstance(value, str):
        return text
    return value.rsplit(".", 1)[-1] if name.endswith(".class_path") else value
