"""The eighth claim, from the lines of the theory experiments.

Theorem 1: a search for the set behind an embedding finds it again, to a matching error of at most 0.01, at the largest
M that was tried. Supported where it does so for more than half of the seeds of SAN, for each number of elements and
features. Contradicted where, for some of them, more than half of the seeds end in another set with the same embedding
(a residual of at most 1e-6, an error above 0.01). A search that fails in another way says nothing.

Remark 1: supported where the difference between power-mean SAN and max at the largest p is, for all seeds, at most a
hundredth of that at the smallest; contradicted where it is at least half of it for some seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from reproduction.reading import Measurement
from reproduction.verdict import Verdict

FOUND = 0.01  # matching error of a set that was found again
_SAME = 1e-6  # residual of an embedding that was met
_LIMIT, _NO_LIMIT = 0.01, 0.5  # difference at the largest p, in parts of that at the smallest


@dataclass(frozen=True)
class Recovery:
    """What the searches of one kind found.

    Args:
        elements: of a set.
        features: of an element.
        aggregator: short name.
        size: M.
        errors: matching errors, by seed.
        num_other_sets: of the searches that ended in another set with the same embedding.
        places: of the lines.
    """

    elements: int
    features: int
    aggregator: str
    size: int
    errors: Sequence[float]
    num_other_sets: int
    places: Sequence[str]

    @property
    def num_found(self) -> int:
        """How many found the set again."""
        return sum(error <= FOUND for error in self.errors)

    @property
    def median_error(self) -> float:
        """Over the seeds."""
        return median(self.errors)


def recoveries(measurements: Sequence[Measurement]) -> list[Recovery]:
    """The searches of Theorem 1, by numbers of elements and features, aggregator and M.

    Args:
        measurements: all.
    """

    def kind(line: Measurement) -> tuple[int, int, str, int]:
        elements, features, aggregator, size = (
            line.settings[name] for name in ("elements", "features", "aggregator", "size")
        )
        return int(elements), int(features), str(aggregator), int(size)

    lines = [line for line in measurements if line.settings["experiment"] == "theorem1"]
    lines.sort(key=lambda line: (*kind(line), line.settings["seed"]))
    found = []
    for key, group in groupby(lines, kind):
        seeds = list(group)
        other = [
            line for line in seeds if line.measured["error"] > FOUND and line.measured.get("residual", 1.0) <= _SAME
        ]
        errors = [line.measured["error"] for line in seeds]
        found.append(Recovery(*key, errors, len(other), [line.place for line in seeds]))
    return found


def theorem1(found: Sequence[Recovery]) -> Verdict:
    """Judges Theorem 1.

    Args:
        found: by :func:`recoveries`.
    """
    last: dict[tuple[int, int], Recovery] = {}
    for each in found:
        if each.aggregator == "san":
            last[each.elements, each.features] = each  # sizes rise
    if any(2 * each.num_other_sets > len(each.errors) for each in last.values()):
        return Verdict.CONTRADICTED
    is_found = bool(last) and all(2 * each.num_found > len(each.errors) for each in last.values())
    return Verdict.SUPPORTED if is_found else Verdict.UNDECIDED


def limits(measurements: Sequence[Measurement]) -> dict[int, list[Measurement]]:
    """The lines of Remark 1 by seed, p rising.

    Args:
        measurements: all.
    """
    lines = [line for line in measurements if line.settings["experiment"] == "remark1"]
    lines.sort(key=lambda line: (line.settings["seed"], line.settings["p"]))
    return {seed: list(group) for seed, group in groupby(lines, lambda line: int(line.settings["seed"]))}


def remark1(found: dict[int, list[Measurement]]) -> Verdict:
    """Judges Remark 1.

    Args:
        found: by :func:`limits`.
    """
    ends = [(lines[0].measured["difference"], lines[-1].measured["difference"]) for lines in found.values()]
    if not ends or any(len(lines) < 2 for lines in found.values()):
        return Verdict.UNDECIDED
    if any(last >= _NO_LIMIT * first for first, last in ends):
        return Verdict.CONTRADICTED
    return Verdict.SUPPORTED if all(last <= _LIMIT * first for first, last in ends) else Verdict.UNDECIDED
