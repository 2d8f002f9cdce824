"""Runs side by side: groups of seeds, in the order of the figure, and the settings by which they differ."""

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from set_aggregation.reports.finished_run import Run, Skipped

_ORDER = ("Flatten", "GlobalAvgPool", "GlobalMaxPool", "Conv1x1", "SAN")  # of the columns of the paper's Table 2
_NULL = "null"  # value of a missing setting: versions of the project have different settings


class Row(NamedTuple):
    """Runs that differ in width and seed only."""

    data: str
    aggregator: str
    differences: tuple[str, ...]  # each setting by which it differs from other rows of this aggregator on this data
    runs: tuple[Run, ...]  # by width and seed

    @property
    def label(self) -> str:
        """Aggregator and settings that distinguish this row from the others on the same data."""
        return ", ".join((self.aggregator, *self.differences))

    @property
    def cells(self) -> dict[int, list[Run]]:
        """The runs of each width."""
        return {width: list(runs) for width, runs in itertools.groupby(self.runs, key=lambda run: run.width)}


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
        variants: dict[frozenset[tuple[str, str]], list[Run]] = {}  # groups of runs that may be averaged
        for run in group:
            key = frozenset((name, value) for name, value in run.settings.items() if value != _NULL)
            variants.setdefault(key, []).append(run)
        of_one_kind = []
        for variant, difference in zip(variants.values(), differences([dict(key) for key in variants]), strict=True):
            kept, repeats = _newest(variant)
            left_out += repeats
            of_one_kind.append(Row(data, aggregator, difference, tuple(kept)))
        rows += sorted(of_one_kind, key=lambda row: _natural(row.label))
    widths = {run.width for row in rows for run in row.runs}
    return Comparison(tuple(rows), tuple(sorted(widths)), tuple(sorted(left_out, key=lambda each: str(each.folder))))


def differences(variants: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    """Return the settings by which each of several runs differs from the others, as short texts."""
    names = sorted({name for settings in variants for name in settings})
    found = [[name for name in names if _differs(name, settings, variants)] for settings in variants]
    used = sorted({name for names in found for name in names})
    values = {name: _plain(name, {settings.get(name, _NULL) for settings in variants}) for name in used}
    return [
        tuple(f"{_short(name, used)}={values[name][settings.get(name, _NULL)]}" for name in names)
        for settings, names in zip(variants, found, strict=True)
    ]


def _place(run: Run) -> tuple[str, int, str]:
    known = run.aggregator in _ORDER
    return run.data, _ORDER.index(run.aggregator) if known else len(_ORDER), run.aggregator


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
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text)
    return [(float(part), "") if index % 2 else (0.0, part) for index, part in enumerate(parts)]


def _differs(name: str, settings: Mapping[str, str], variants: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a setting differs among the runs whose classes take it."""
    classes = [f"{name[: found.start()]}.class_path" for found in re.finditer(r"\.init_args\.", name)]
    alike = [each for each in variants if all(each.get(key) == settings.get(key) for key in classes)]
    return len({each.get(name, _NULL) for each in alike}) > 1


def _short(name: str, names: Sequence[str]) -> str:
    """Return the shortest suffix of a dotted name that no other name has."""
    parts, *others = (re.sub(r"\.(init_args|class_path)\b", "", each).split(".") for each in (name, *names))
    suffixes = (parts[-num:] for num in range(1, len(parts)))
    return ".".join(next((s for s in suffixes if sum(other[-len(s) :] == s for other in others) == 1), parts))


def _plain(name: str, texts: Iterable[str]) -> dict[str, str]:
    """Return each value without quotes and without the module of a class, unless two would be equal then."""
    plain = {text: str(json.loads(text)) if text.startswith('"') else text for text in texts}
    if name.endswith(".class_path"):
        plain = {text: value.rpartition(".")[2] for text, value in plain.items()}
    return plain if len({*plain.values()}) == len(plain) else {text: text for text in plain}
