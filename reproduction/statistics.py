"""Means and their 95 % intervals by Student's t."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import stats

_LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and half the width of its 95 % interval.

    Args:
        mean: of the values.
        half_width: None for a single value.
        number: of values.
    """

    mean: float
    half_width: float | None
    number: int

    @property
    def low(self) -> float:
        """The lower end; minus infinity for a single value."""
        return -np.inf if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end; infinity for a single value."""
        return np.inf if self.half_width is None else self.mean + self.half_width


def t_interval(values: Iterable[float]) -> Interval:
    r"""Return the mean and half its 95 % interval, :math:`t_{n-1} s / \sqrt n`.

    Example:
        >>> interval = t_interval([0.70, 0.72, 0.74])
        >>> round(interval.mean, 4), round(interval.half_width, 4), interval.number
        (0.72, 0.0497, 3)
    """
    found = np.array(list(values), dtype=float)
    if len(found) == 1:
        return Interval(float(found[0]), None, 1)
    half_width = stats.t.ppf((1 + _LEVEL) / 2, len(found) - 1) * stats.sem(found)
    return Interval(float(found.mean()), float(half_width), len(found))
