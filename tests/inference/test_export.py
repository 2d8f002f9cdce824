import math
from contextlib import nullcontext

import pytest
import torch

from set_aggregation.inference.export import compare, smallest_size, three_shapes, to_program
from tests.support.small_classifier import POOLING, OneConvolution, classifier, noise

SHAPES = [(1, 1, 16, 16), (2, 1, 9, 20)]
pytestmark = pytest.mark.usefixtures("unchecked_shapes")


class OfOneSize(OneConvolution):
    """Backbone with an embedding of 8 x 8 positions, as a vision transformer has."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.embedding = torch.nn.Parameter(torch.randn(4, 8, 8))

    def forward(self, x):
        return super().forward(x) + self.embedding


class DataDependent(OneConvolution):
    """Backbone whose control flow depends on the values."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def agrees(model, *shapes):
    program = to_program(model)
    for shape in shapes:
        torch.testing.assert_close(program.module()(noise(*shape)), model(noise(*shape)), rtol=1e-4, atol=1e-5)
    return program


@pytest.mark.slow
def test_all_sizes_are_free():
    model = classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    before = [(weight, weight.stride()) for weight in model.train().parameters()]
    height, width = smallest_size(to_program(model))
    assert model.training
    assert [(weight, weight.stride()) for weight in model.parameters()] == before
    assert height <= 3
    assert width <= 3


@pytest.mark.nightly
def test_every_second_pixel_of_an_odd_size_keeps_them_free():
    backbone = {"class_path": "ResNetCIFAR", "init_args": {"depth": 8, "in_channels": 1}}
    agrees(classifier("GlobalAvgPool", backbone), (1, 1, 16, 16), (4, 1, 9, 31), (2, 1, 10, 7))


@pytest.mark.nightly
@POOLING
def test_pooling_that_rounds_up_keeps_them_free():
    agrees(classifier(backbone="SmallCNN"), (1, 1, 16, 16), (4, 1, 9, 31), (2, 1, 10, 7))


@pytest.mark.slow
def test_an_aggregator_of_sets_of_one_size_fixes_them():
    is_fixed(classifier("Flatten"))


@pytest.mark.slow
def test_a_backbone_of_images_of_one_size_fixes_them_and_it_is_said():
    with pytest.warns(UserWarning, match=r"^height and width are fixed at 16x16: got a model of OfOneSize and SAN, "):
        is_fixed(classifier(backbone="OfOneSize"))


def is_fixed(model):
    program = to_program(model)
    assert smallest_size(program) is None
    for num in (1, 4):
        torch.testing.assert_close(program.module()(noise(num, 1, 16, 16)), model(noise(num, 1, 16, 16)))
    with pytest.raises(Exception, match=r"16"):
        program.module()(noise(1, 1, 20, 20))


@pytest.mark.slow
def test_what_cannot_be_followed_is_refused_in_one_line():
    with (
        pytest.warns(UserWarning, match=r"fixed at"),
        pytest.raises(ValueError, match=r"got a model of DataDependent and SAN, which torch.export cannot") as raised,
    ):
        to_program(classifier(backbone="DataDependent"))
    assert "\n" not in str(raised.value)


def test_equal_programs_do_not_differ():
    model = classifier()
    assert [line.partition(" of")[0] for line in compare(model, model, SHAPES)] == [
        "1 x 1 x 16 x 16: largest difference 0.0e+00",
        "2 x 1 x 9 x 20: largest difference 0.0e+00",
    ]


def test_images_are_noise():
    seen = []
    compare(*[lambda images: seen.append(images) or torch.zeros(len(images), 3)] * 2, SHAPES)
    assert [tuple(images.shape) for images in seen[::2]] == SHAPES
    assert all(images.dtype == torch.uint8 and len(images.unique()) > 100 for images in seen)


@pytest.mark.parametrize(
    ("largest", "largest_logit", "is_small"),
    [(0.9e-4, 0.1, True), (1.1e-4, 0.1, False), (0.9e-2, 100, True), (1.1e-2, 100, False), (math.nan, 1, False)],
)
def test_tolerance_is_that_of_the_largest_logit_or_of_one(largest, largest_logit, is_small):
    logits = torch.tensor([[largest_logit, 0.0]])
    other = logits - torch.tensor([0.0, largest])
    refusal = pytest.raises(ValueError, match=r"other outputs than the model \(1 x 1 x 16 x 16: largest difference")
    with nullcontext() if is_small else refusal:
        compare(lambda images: logits, lambda images: other, SHAPES[:1])


def test_shapes_are_three_and_differ():
    for smallest in (None, (1, 1), (5, 7)):
        assert len(set(three_shapes(1, (16, 16), smallest))) == 3


def test_a_program_that_fails_is_refused_in_one_line():
    def fail(images):
        raise AssertionError("Guard failed: 16 * height\nand much more")

    with pytest.raises(ValueError, match=r"fails on images of shape \(1, 1, 16, 16\): Guard failed: 16 \* height$"):
        compare(classifier(), fail, SHAPES)
