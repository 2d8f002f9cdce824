import itertools
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reproduction.statistics import binomial_variance, holm, normal_half_width, paired_t, t_half_width, z_test

VALUES = ([0.1, 0.3], [0.7, 0.72, 0.71], [-0.01, 0.02, 0.05, 0.01, 0.03])


@pytest.mark.parametrize("values", VALUES)
def test_interval_is_that_of_student(values):
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert t_half_width(values) == pytest.approx((high - low) / 2, rel=1e-12)


@pytest.mark.parametrize("values", VALUES)
def test_p_value_is_that_of_student(values):
    assert paired_t(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_of_equal_differences_p_is_that_of_all_flips_of_signs(n):
    sums = [abs(fmean(flips)) for flips in itertools.product((-0.2, 0.2), repeat=n)]
    assert paired_t([0.2] * n) == np.mean(np.isclose(sums, 0.2))


def test_two_proportions():
    difference, error = 0.75 - 0.73, (binomial_variance(0.75, 5000) + binomial_variance(0.73, 5000)) ** 0.5
    assert z_test(difference, error) == pytest.approx(2 * stats.norm.sf(difference / error), rel=1e-9)
    assert (z_test(0.0, 0.0), z_test(0.5, 0.0)) == (1.0, 0.0)


def test_binomial_interval_is_that_of_the_paper_s_noise():
    assert binomial_variance(0.75, 5000) ** 0.5 == pytest.approx(0.0061, abs=5e-5)
    assert binomial_variance(0.91, 5000) ** 0.5 == pytest.approx(0.0040, abs=5e-5)
    assert normal_half_width(1.0) == pytest.approx(stats.norm.ppf(0.975), rel=1e-9)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_finds_what_its_steps_find(p_values):
    """Step by step: the smallest against alpha / m, the next against alpha / (m - 1), until one is larger."""
    corrected = holm(p_values)
    for alpha in (0.05, 0.3):
        found = set()
        for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[index] * (len(p_values) - rank) > alpha:
                break
            found.add(index)
        assert {index for index, p in enumerate(corrected) if p <= alpha} == found
