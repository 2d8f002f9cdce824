"""The statistic of a claim: a difference, its 95 % interval by Student's t, and a verdict."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from scipy import stats

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
_LEVEL = 0.95
_MIN_CELLS = 3  # for an interval over the cells


class Interval(NamedTuple):
    """Mean and half-width of a 95 % interval (NaN for a single value), and number of values."""

    mean: float
    half_width: float
    number: int


def t_interval(values: Iterable[float]) -> Interval:
    """Return the mean and half its 95 % interval, t(n - 1) s / sqrt(n)."""
    found = pd.Series(list(values), dtype=float)
    half_width = stats.t.ppf((1 + _LEVEL) / 2, len(found) - 1) * found.sem()
    return Interval(float(found.mean()), float(half_width), len(found))


@dataclass(frozen=True)
class Difference:
    """Difference that a claim is about."""

    name: str  # what is subtracted from what
    values: pd.Series  # by seed (first level of the index) and cell (the others)
    places: frozenset[str]  # lines of the results that it uses
    null: float = 0.0  # supported above it
    paper: float | None = None  # the same difference in the paper's numbers
    unit: str = "points"  # of accuracy, stored as a share; or "epochs", "%"

    @property
    def over_cells(self) -> Interval:
        """Interval over the means of the cells."""
        return t_interval(self.values.groupby(level=list(range(1, self.values.index.nlevels))).mean())

    @property
    def over_seeds(self) -> Interval | None:
        """Interval over the seeds that all cells have, if there are at least two."""
        by_seed = self.values.unstack(0).dropna(axis=1).mean()
        return t_interval(by_seed) if len(by_seed) > 1 else None

    @property
    def verdict(self) -> str:
        """Verdict of the interval."""
        if self.values.empty:
            return UNDECIDED
        interval = self.over_cells if self.over_cells.number >= _MIN_CELLS else self.over_seeds
        if interval is None:
            return UNDECIDED
        if interval.mean - interval.half_width > self.null:
            return SUPPORTED
        return CONTRADICTED if interval.mean + interval.half_width < self.null else UNDECIDED
