"""Student's t intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from reproduction.statistics import t_interval


def test_interval_is_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.7, 0.02, 5)
    interval = t_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ends = interval.mean - interval.half_width, interval.mean + interval.half_width
    assert ends == pytest.approx(tuple(expected))


def test_single_value_has_no_interval():
    mean, half_width, number = t_interval([0.7])
    assert (mean, number) == (0.7, 1)
    assert math.isnan(half_width)


def test_equal_values_have_an_interval_of_zero_width():
    assert t_interval([100.0, 100.0, 100.0]) == (100.0, 0.0, 3)
