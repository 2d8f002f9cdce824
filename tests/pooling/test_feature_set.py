import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from set_aggregation.pooling.feature_set import FeatureSet

sizes = st.integers(1, 9)
few = settings(max_examples=15)


def index_map(h, w):
    """A feature map of two channels: the row and the column of each pixel."""
    return torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))[None].float()


def test_shape_annotations_are_checked_in_tests():
    with pytest.raises(jaxtyping.TypeCheckError):
        FeatureSet()(torch.randn(3))


@few
@given(sizes, sizes)
def test_elements_are_the_pixels_row_by_row(h, w):
    elements, _ = FeatureSet("none")(index_map(h, w))
    assert elements[0].tolist() == [[row, column] for row in range(h) for column in range(w)]


@few
@given(st.integers(2, 9), st.integers(2, 9))
def test_linear_positions_are_the_scaled_indices_of_their_elements(h, w):
    elements, positions = FeatureSet("linear")(index_map(h, w))
    assert_close(positions, 2 * elements[0] / torch.tensor([h - 1, w - 1]) - 1)


@few
@given(sizes, sizes)
def test_linear_positions_are_symmetric_and_within_one(h, w):
    _, positions = FeatureSet("linear")(index_map(h, w))
    assert positions.abs().max() <= 1
    assert_close(positions.flip(0), -positions)


@few
@given(sizes)
def test_a_map_one_pixel_high_or_wide_lies_at_zero(size):
    features = FeatureSet("linear")
    assert (features(index_map(1, size))[1][:, 0] == 0).all()
    assert (features(index_map(size, 1))[1][:, 1] == 0).all()


@few
@given(sizes, sizes, st.integers(1, 5))
def test_trigonometric_positions_follow_the_formula(h, w, num_frequencies):
    _, positions = FeatureSet("trigonometric", num_frequencies)(index_map(h, w))

    def encode(index):
        angles = [index / 10000 ** (k / num_frequencies) for k in range(num_frequencies)]
        return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]

    assert_close(positions, torch.tensor([encode(row) + encode(column) for row in range(h) for column in range(w)]))


@pytest.mark.parametrize(("positions", "expected"), [("none", 0), ("linear", 2), ("trigonometric", 12)])
def test_position_features_is_the_size_of_a_position(positions, expected):
    features = FeatureSet(positions, num_frequencies=3)
    _, made = features(torch.randn(2, 3, 4, 5))
    assert features.position_features == expected == (0 if made is None else made.shape[1])


@pytest.mark.parametrize("positions", ["linear", "trigonometric"])
def test_positions_take_the_dtype_of_the_map(positions):
    assert FeatureSet(positions)(torch.randn(2, 3, 4, 5).bfloat16())[1].dtype == torch.bfloat16


def test_a_channels_last_map_is_not_copied():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    elements, _ = FeatureSet()(x)
    assert elements.data_ptr() == x.data_ptr()
    assert elements.is_contiguous()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"positions": "polar"},
            "FeatureSet: got positions='polar', expected one of 'none', 'linear', 'trigonometric'",
        ),
        ({"num_frequencies": 0}, "FeatureSet: got num_frequencies=0, expected at least 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, unchecked_shapes):
    with pytest.raises(ValueError, match=message):
        FeatureSet(**arguments)


def test_positions_follow_the_axes_of_a_volume():
    x = torch.randn(1, 2, 2, 3, 4)
    positions = FeatureSet("linear", num_axes=3)(x)[1].view(2, 3, 4, 3)
    axes = [torch.linspace(-1, 1, size) for size in (2, 3, 4)]
    assert torch.allclose(positions, torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1))


def test_a_map_with_another_number_of_axes_is_refused():
    with pytest.raises(ValueError, match="expected 2 spatial axes"):
        FeatureSet("linear")(torch.randn(1, 2, 5))
