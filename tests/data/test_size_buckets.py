"""What choose_buckets promises: few sizes, aspect ratios nearly kept, hardly anything enlarged."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
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


@given(images(), SETTINGS)
@example(np.array([[1, 1]]), {"max_side": 1, "num_buckets": 1, "max_aspect_change": 1.001, "max_enlargement": 1.0})
@example(np.array([[30, 20]]), {"max_side": 9, "num_buckets": 1, "max_aspect_change": 1.001, "max_enlargement": 1.0})
def test_promises_hold_or_an_image_is_named(sizes, settings):
    try:
        result = choose_buckets(sizes, **settings)
    except ValueError as error:
        check_complaint(str(error), sizes, settings)
    else:
        check_promises(sizes, result, settings)


def check_complaint(message, sizes, settings):
    """The image is there, is longer than max_side, and loses its aspect ratio by what is said."""
    found = re.match(r"got an image of (\d+)x(\d+), which max_side=(\d+) makes (\d+)x(\d+); expected a change", message)
    h, w, max_side, new_h, new_w = map(int, found.groups())
    assert [h, w] in sizes.tolist()
    assert max(h, w) > max_side == settings["max_side"] >= max(new_h, new_w)
    assert aspect_change((h, w), (new_h, new_w)) > settings["max_aspect_change"]


@given(pairs(largest=1000), SETTINGS)
def test_images_that_fit_are_never_refused(sizes, settings):
    sizes = np.array(sizes)
    check_promises(sizes, choose_buckets(sizes, **{**settings, "max_side": 1000}), {**settings, "max_side": 1000})


@given(images(smallest=50), SETTINGS, st.randoms(use_true_random=False))
def test_order_of_the_images_does_not_matter(sizes, settings, random):
    settings = {**settings, "max_side": 1000, "max_aspect_change": max(settings["max_aspect_change"], 1.1)}
    order = list(range(len(sizes)))
    random.shuffle(order)
    assert np.array_equal(choose_buckets(sizes[order], **settings), choose_buckets(sizes, **settings)[order])


@given(pairs(largest=400, most=20), SETTINGS)
def test_few_sizes_are_kept_exactly(sizes, settings):
    sizes = np.array(sizes)
    settings = {**settings, "num_buckets": max(len(sizes), settings["num_buckets"]), "max_side": 400}
    assert np.array_equal(choose_buckets(sizes, **settings), sizes)


@given(pairs(smallest=150, most=8), st.integers(100, 3000))
def test_few_sizes_are_shrunk_as_little_as_can_be(sizes, max_side):
    sizes = np.array(sizes)
    result = choose_buckets(sizes, max_side, num_buckets=8, max_aspect_change=4)
    assert (np.abs(result - shrunk(sizes, max_side)) <= np.maximum(0.5, 1 - shrunk(sizes, max_side)) + 1e-9).all()


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.lists(st.integers(60, 84), min_size=1, max_size=25, unique=True),
    SETTINGS,
)
def test_one_aspect_ratio_within_a_factor_two_of_area_needs_no_more(ratio, scales, settings):
    """Of two promises and the loss of half of both sides, none asks for more."""
    sizes = np.array(ratio) * np.array(scales)[:, None]
    settings = {**settings, "max_aspect_change": max(settings["max_aspect_change"], 1.05), "max_side": 1000}
    assert different(choose_buckets(sizes, **settings)) <= settings["num_buckets"]


def test_an_image_that_limits_one_side_limits_the_other_with_it():
    """Or the size would be 60x100, which is too narrow for the other images."""
    sizes = np.array([[60, 100], [100, 120], [101, 121]])
    settings = {"max_side": 200, "num_buckets": 1, "max_aspect_change": 1.25, "max_enlargement": 1}
    result = choose_buckets(sizes, **settings)
    assert different(result) == 1
    check_promises(sizes, result, settings)


@given(images(smallest=100, largest=130), st.integers(1, 6), st.integers(100, 400))
def test_like_images_become_as_few_sizes_as_asked_for(sizes, num_buckets, max_side):
    """Aspect ratios within 1.3 : 1 and 1 : 1.3, which one size has within a factor of 1.4."""
    result = choose_buckets(sizes, max_side, num_buckets, max_aspect_change=1.4)
    assert different(result) <= num_buckets


@given(images(smallest=20), st.integers(1, 8), st.integers(20, 1000))
def test_images_of_a_size_lose_at_most_half_of_both_sides_on_average(sizes, num_buckets, max_side):
    settings = {"max_side": max_side, "num_buckets": num_buckets, "max_aspect_change": 1.5, "max_enlargement": 1.0}
    try:
        result = choose_buckets(sizes, **settings)
    except ValueError:
        return
    loss = log_loss(sizes, result, max_side)
    for size in np.unique(result, axis=0):
        assert loss[(result == size).all(1)].mean() <= 2 * math.log(2) + 1e-9


@pytest.mark.parametrize("outlier", [(1, 1), (8, 8), (20, 30), (49, 49)])
@pytest.mark.parametrize("num_outliers", [1, 5])
def test_a_tiny_image_does_not_make_the_others_tiny(outlier, num_outliers):
    others = np.random.default_rng(0).integers(200, 240, (500, 2))
    sizes = np.concatenate([others, [outlier] * num_outliers])
    for num_buckets in (1, 2, 8):
        result = choose_buckets(sizes, 224, num_buckets)
        assert log_loss(others, result[: len(others)], 224).mean() < 2 * math.log(2)
        check_promises(
            sizes,
            result,
            {"max_side": 224, "max_aspect_change": 1.25, "max_enlargement": 1.25},
        )


def test_more_buckets_are_never_worse():
    sizes = np.random.default_rng(0).integers(100, 600, (2000, 2))
    losses = [log_loss(sizes, choose_buckets(sizes, 500, num), 500).mean() for num in (8, 16, 32, 64)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]


def test_sizes_go_where_the_images_are():
    """Ten thousand images of one size nearly keep it, a few others share what is left."""
    rng = np.random.default_rng(0)
    sizes = np.concatenate([np.full((10_000, 2), 150), rng.integers(100, 200, (100, 2))])
    result = choose_buckets(sizes, 224, num_buckets=4, max_aspect_change=2.1)
    assert np.abs(result[:10_000] - 150).max() <= 5


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


def test_height_comes_first():
    assert choose_buckets(np.array([[10, 40]]), max_side=20).tolist() == [[5, 20]]


def test_enlarges_where_it_may():
    sizes = np.array([[80, 80], [100, 100]])
    one_size = {enlargement: choose_buckets(sizes, 224, 1, 1.25, enlargement).tolist() for enlargement in (1, 1.05, 2)}
    assert one_size == {1: [[80, 80]] * 2, 1.05: [[84, 84]] * 2, 2: [[89, 89]] * 2}  # between the two


def test_an_image_too_narrow_is_named():
    sizes = np.array([[100, 100], [3000, 10], [50, 60]])
    with pytest.raises(ValueError, match=r"^got an image of 3000x10, which max_side=64 makes 64x1; expected .* 1\.25"):
        choose_buckets(sizes, max_side=64)


def test_an_image_that_a_smaller_size_suits_is_not_refused():
    """48x38 changes 100:80 by more than one part in a hundred, 45x36 not at all."""
    settings = {"max_side": 48, "num_buckets": 8, "max_aspect_change": 1.01, "max_enlargement": 1.25}
    sizes = np.array([[100, 80]])
    check_promises(sizes, choose_buckets(sizes, **settings), settings)
