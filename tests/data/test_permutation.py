"""The random orders: whole, in parts, and how well they are mixed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from set_aggregation.data.epoch_plan import permuted

LARGE = 10007  # a prime beyond those orders that are drawn as a whole
NUMS = [1, 2, 4096, 4097, 4489, 4490, LARGE]


def order(num, *seed):
    return permuted(np.arange(num), num, np.random.SeedSequence(seed))


def chi_square(counts):
    """How many standard deviations the counts of a table are less even than chance has them."""
    rows, columns = counts.shape
    expected = counts.sum() / counts.size
    freedom = (rows - 1) * (columns - 1)
    return (((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize("num", NUMS)
def test_each_thing_stands_at_one_place(num):
    for seed in range(5):
        assert sorted(order(num, seed).tolist()) == list(range(num))


@settings(max_examples=15)
@given(st.data(), st.one_of(st.sampled_from(NUMS), st.integers(1, 20000)), st.integers(0, 2**64 - 1))
def test_some_places_hold_what_they_hold_in_the_whole_order(data, num, seed):
    places = np.array(data.draw(st.lists(st.integers(0, num - 1), max_size=20)), dtype=np.int64)
    assert permuted(places, num, np.random.SeedSequence(seed)).tolist() == order(num, seed)[places].tolist()


def test_the_places_of_a_huge_order_hold_different_things():
    num = 10**12
    places = np.concatenate((np.arange(1000), np.arange(num - 1000, num)))
    found = permuted(places, num, np.random.SeedSequence(0))
    assert found.dtype == np.int64
    assert found.min() >= 0
    assert found.max() < num
    assert len(np.unique(found)) == len(places)


@pytest.mark.parametrize("num", [100, 4096, 4097, LARGE])
def test_seeds_give_different_orders(num):
    assert len({order(num, seed, epoch).tobytes() for seed in range(5) for epoch in range(5)}) == 25


@pytest.mark.parametrize("num", [4097, LARGE])
def test_the_orders_of_two_seeds_are_unrelated(num):
    orders = np.array([order(num, seed) for seed in range(8)])
    related = np.corrcoef(orders)[np.triu_indices(8, k=1)]
    assert np.abs(related).max() < 5 / np.sqrt(num)


@pytest.mark.parametrize("num", [3, 17])
def test_over_many_seeds_each_place_of_a_small_order_holds_each_thing_equally_often(num):
    counts = np.zeros((num, num))
    for seed in range(1000):
        counts[np.arange(num), order(num, seed)] += 1
    assert chi_square(counts) < 5


@pytest.mark.parametrize("num", [LARGE])
def test_over_many_seeds_each_place_of_a_large_order_holds_each_part_equally_often(num):
    places = np.array([0, 1, 2, num // 2, num - 1])
    counts = np.zeros((len(places), 16))
    for seed in range(1000):
        counts[np.arange(len(places)), permuted(places, num, np.random.SeedSequence(seed)) * 16 // num] += 1
    assert chi_square(counts) < 5


@pytest.mark.parametrize("num", [4097, 100_003])
def test_each_part_of_an_order_holds_as_much_of_each_part(num):
    for seed in range(3):
        counts, _, _ = np.histogram2d(np.arange(num), order(num, seed), bins=16)
        assert chi_square(counts) < 5


@pytest.mark.parametrize("num", [4097, 100_003])
def test_places_at_any_distance_are_unrelated(num):
    centred = order(num, 0) - (num - 1) / 2
    related = np.fft.irfft(np.abs(np.fft.rfft(centred)) ** 2, num)[1:] / (centred**2).sum()  # one for each distance
    assert np.abs(related).max() < 7 / np.sqrt(num)
    assert abs(related[0]) < 5 / np.sqrt(num)
