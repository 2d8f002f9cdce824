import math

import pytest
import torch

from set_aggregation.inference.export.parity import Difference, compare, three_shapes
from tests.support.small_classifier import classifier

SHAPES = [(1, 1, 16, 16), (2, 1, 9, 20)]


def test_equal_programs_do_not_differ():
    model = classifier()
    assert [difference.largest for difference in compare(model, model, SHAPES)] == [0, 0]


def test_the_largest_difference_is_found_at_each_shape():
    model = classifier()

    def other(images):
        logits = model(images).detach()
        logits[-1, -1] -= 0.25 * len(images)
        return logits

    differences = compare(model, other, SHAPES)
    assert [difference.shape for difference in differences] == SHAPES
    assert [difference.largest for difference in differences] == pytest.approx([0.25, 0.5])


def test_images_are_noise():
    seen = []
    compare(classifier(), lambda images: seen.append(images) or torch.zeros(len(images), 3), SHAPES)
    assert [tuple(images.shape) for images in seen] == SHAPES
    assert all(images.dtype == torch.uint8 and len(images.unique()) > 100 for images in seen)


@pytest.mark.parametrize(
    ("largest", "largest_logit", "is_small"),
    [(0.9e-4, 0.1, True), (1.1e-4, 0.1, False), (0.9e-2, 100, True), (1.1e-2, 100, False), (math.nan, 1, False)],
)
def test_tolerance_is_that_of_the_largest_logit_or_of_one(largest, largest_logit, is_small):
    assert Difference((1, 1, 1, 1), largest, largest_logit).is_small is is_small


def test_shapes_are_three_and_differ():
    for smallest in (None, (1, 1), (5, 7)):
        assert len(set(three_shapes(1, (16, 16), smallest))) == 3


def test_a_program_that_fails_is_refused_in_one_line():
    def fail(images):
        raise AssertionError("Guard failed: 16 * height\nand much more")

    with pytest.raises(ValueError, match=r"fails on images of shape \(1, 1, 16, 16\): Guard failed: 16 \* height$"):
        compare(classifier(), fail, SHAPES)
