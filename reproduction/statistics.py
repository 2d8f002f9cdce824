"""Intervals and tests over a handful of seeds."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from scipy.special import stdtr, stdtrit

_LEVEL = 0.95  # of intervals
_NORMAL = NormalDist()


def t_half_width(values: Sequence[float]) -> float:
    r"""Half the 95 % interval of a mean by Student's t, :math:`t_{n-1} s / \sqrt n`.

    Args:
        values: one of each seed, at least two.

    Example:
        >>> round(t_half_width([0.70, 0.72, 0.74]), 4)
        0.0497
    """
    quantile = float(stdtrit(len(values) - 1, (1 + _LEVEL) / 2))
    return quantile * stdev(values) / math.sqrt(len(values))


def normal_half_width(error: float) -> float:
    """Half the 95 % interval of a value with a known standard error.

    Args:
        error: the standard error.

    Example:
        >>> round(normal_half_width(0.01), 4)
        0.0196
    """
    return _NORMAL.inv_cdf((1 + _LEVEL) / 2) * error


def binomial_variance(proportion: float, number: int) -> float:
    """The variance of a proportion of so many images.

    Args:
        proportion: what was measured.
        number: of images.

    Example:
        >>> round(binomial_variance(0.75, 5000) ** 0.5, 4)
        0.0061
    """
    return proportion * (1 - proportion) / number


def paired_t(differences: Sequence[float]) -> float:
    r"""Two-sided p-value of a paired t test of mean zero.

    The exact sign-flip test assumes less, but cannot go below :math:`2^{1-n}`, which is 0.0625 of five seeds: it would
    never find anything. It stands in where all differences are equal and t is not defined.

    Args:
        differences: one of each seed, at least two.

    Example:
        >>> round(paired_t([0.01, 0.02, 0.03]), 4), paired_t([2.0, 2.0, 2.0]), paired_t([0.0, 0.0])
        (0.0742, 0.25, 1.0)
    """
    n, mean, spread = len(differences), fmean(differences), stdev(differences)
    if math.isclose(spread, 0, abs_tol=1e-12):
        return 1.0 if math.isclose(mean, 0, abs_tol=1e-12) else 2.0 ** (1 - n)
    return 2 * float(stdtr(n - 1, -abs(mean) * math.sqrt(n) / spread))


def z_test(difference: float, error: float) -> float:
    """Two-sided p-value of a difference with a known standard error; of two accuracies, the two-proportion test.

    Args:
        difference: what was measured.
        error: its standard error.

    Example:
        >>> round(z_test(0.0196, 0.01), 3)
        0.05
    """
    return 1.0 if difference == 0 else 2 * _NORMAL.cdf(-abs(difference) / error) if error else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's method: below 0.05, none is wrong with a probability of 95 %.

    Args:
        p_values: of one family, in any order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
