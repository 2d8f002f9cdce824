"""What choose_buckets promises: few sizes, aspect ratios nearly kept, hardly anything enlarged."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from set_aggregation.data.size_buckets import choose_buckets

TOLERANCE = 1 + 1e-9


def sides(smallest=1, largest=3000):
    return st.integers(smallest, largest)


def pairs(smallest=1, largest=3000, most=60):
    """Different sizes."""
    side = sides(smallest, largest)
    return st.lists(st.tuples(side, side), min_size=1, max_size=most, unique=True)


@st.composite
def images(draw, **bounds):
    """Sizes of images, some of them several times, in any order."""
    sizes = draw(pairs(**bounds))
    counts = draw(st.lists(st.integers(1, 5), min_size=len(sizes), max_size=len(sizes)))
    return np.array(draw(st.permutations([size for size, num in zip(sizes, counts, strict=True) for _ in range(num)])))


SETTINGS = st.fixed_dictionaries(
    {
        "max_side": st.integers(1, 1000),
        "num_buckets": st.integers(1, 20),
        "max_aspect_change": st.floats(1.001, 4),
        "max_enlargement": st.floats(1, 4),
    }
)


def different(sizes):
    return len(np.unique(sizes, axis=0))


def aspect_change(before, after):
    ratio = Fraction(int(after[0]) * int(before[1]), int(after[1]) * int(before[0]))
    return max(ratio, 1 / ratio)


def shrunk(sizes, max_side):
    """The goal of each image."""
    return sizes * np.minimum(1, max_side / sizes.max(1, keepdims=True))


def log_loss(sizes, result, max_side):
    """By how much both sides of each image differ from their goal, together."""
    return np.abs(np.log(shrunk(sizes, max_side) / result)).sum(1)


def check_promises(sizes, result, settings):
    assert result.shape == sizes.shape
    assert np.issubdtype(result.dtype, np.integer)
    assert result.min() >= 1
    assert result.max() <= settings["max_side"]
    for before, after in np.unique(np.stack((sizes, result), 1), axis=0):
        assert aspect_change(before, after) <= settings["max_aspect_change"] * TOLERANCE
        for old, new in zip(before.tolist(), after.tolist(), strict=True):
            assert Fraction(new, old) <= settings["max_enlargement"] * TOLERANCE


@settings(max_examples=10)
@given(pairs(largest=1000), SETTINGS)
def test_bounds_are_kept(sizes, bounds):
    """Where images are not too narrow for max_side."""
    sizes = np.array(sizes)
    check_promises(sizes, choose_buckets(sizes, **{**bounds, "max_side": 1000}), {**bounds, "max_side": 1000})


@settings(max_examples=10)
@given(images(smallest=50), SETTINGS, st.randoms(use_true_random=False))
def test_order_of_the_images_does_not_matter(sizes, bounds, random):
    bounds = {**bounds, "max_side": 1000, "max_aspect_change": max(bounds["max_aspect_change"], 1.1)}
    order = list(range(len(sizes)))
    random.shuffle(order)
    assert np.array_equal(choose_buckets(sizes[order], **bounds), choose_buckets(sizes, **bounds)[order])


@settings(max_examples=10)
@given(pairs(largest=400, most=20), SETTINGS)
def test_few_sizes_are_kept_exactly(sizes, bounds):
    sizes = np.array(sizes)
    bounds = {**bounds, "num_buckets": max(len(sizes), bounds["num_buckets"]), "max_side": 400}
    assert np.array_equal(choose_buckets(sizes, **bounds), sizes)


def test_an_image_that_limits_one_side_limits_the_other_with_it():
    """Or the size would be 60x100, which is too narrow for the other images."""
    sizes = np.array([[60, 100], [100, 120], [101, 121]])
    settings = {"max_side": 200, "num_buckets": 1, "max_aspect_change": 1.25, "max_enlargement": 1}
    result = choose_buckets(sizes, **settings)
    assert different(result) == 1
    check_promises(sizes, result, settings)


@pytest.mark.parametrize(("outlier", "num_outliers"), [((1, 1), 1), ((49, 49), 5)])
def test_a_tiny_image_does_not_make_the_others_tiny(outlier, num_outliers):
    others = np.random.default_rng(0).integers(200, 240, (150, 2))
    sizes = np.concatenate([others, [outlier] * num_outliers])
    for num_buckets in (1, 8):
        result = choose_buckets(sizes, 224, num_buckets)
        assert log_loss(others, result[: len(others)], 224).mean() < 2 * math.log(2)
        check_promises(
            sizes,
            result,
            {"max_side": 224, "max_aspect_change": 1.25, "max_enlargement": 1.25},
        )


def test_more_buckets_are_never_worse():
    sizes = np.random.default_rng(0).integers(100, 600, (100, 2))
    losses = [log_loss(sizes, choose_buckets(sizes, 500, num), 500).mean() for num in (8, 16, 32)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.7 * losses[0]


def test_two_sorts_of_images_are_told_apart():
    """Photographs upright and across: each sort has a size of its own shape."""
    rng = np.random.default_rng(0)
    across = np.array([[300, 400]]) + rng.integers(-10, 11, (50, 2))
    sizes = np.concatenate([across, across[:, ::-1]])
    result = choose_buckets(sizes, 200, num_buckets=2)
    assert different(result) == 2
    assert (result[:50] == result[0]).all()
    assert np.array_equal(result[50:], result[:50, ::-1])
    assert result[0, 0] == pytest.approx(150, abs=4)
    assert result[0, 1] == 200


def test_enlarges_where_it_may():
    sizes = np.array([[80, 80], [100, 100]])
    one_size = {enlargement: choose_buckets(sizes, 224, 1, 1.25, enlargement).tolist() for enlargement in (1, 1.05, 2)}
    assert one_size == {1: [[80, 80]] * 2, 1.05: [[84, 84]] * 2, 2: [[89, 89]] * 2}  # between the two


def test_an_image_that_a_smaller_size_suits_is_not_refused():
    """48x38 changes 100:80 by more than one part in a hundred, 45x36 not at all."""
    settings = {"max_side": 48, "num_buckets": 8, "max_aspect_change": 1.01, "max_enlargement": 1.25}
    sizes = np.array([[100, 80]])
    check_promises(sizes, choose_buckets(sizes, **settings), settings)


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)), min_size=1, max_size=30), SETTINGS)
def test_any_images_have_sizes(sizes, bounds):
    result = choose_buckets(sizes, **bounds)
    assert result.shape == (len(sizes), 2)
    assert 1 <= result.min() <= result.max() <= bounds["max_side"]


def test_narrow_images_share_a_bucket_and_do_not_change_the_others():
    others = [(100, 100), (50, 60)]
    result = choose_buckets([*others, (10_000, 20), (9_000, 30), (20, 5_000)], max_side=64).tolist()
    assert result == [*choose_buckets(others, max_side=64).tolist(), [64, 1], [64, 1], [1, 64]]
