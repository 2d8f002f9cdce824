import jaxtyping
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, GlobalAvgPool
from set_aggregation.pooling.per_element import PerElement
from set_aggregation.pooling.set_pooling import SetPooling


def test_all_layouts_of_a_map_are_pooled_alike():
    torch.manual_seed(0)
    feature_map = torch.randn(2, 4, 3, 3)
    san = SAN(4, 8, position_features=2)
    expected = SetPooling(san, positions="linear")(feature_map)
    channels_last = SetPooling(san, "BhwD", positions="linear")(feature_map.permute(0, 2, 3, 1))
    tokens = torch.cat((torch.full((2, 1, 4), torch.nan), feature_map.flatten(2).transpose(1, 2)), 1)
    assert_close(channels_last, expected)
    assert_close(SetPooling(san, "BND", num_prefix_tokens=1, positions="linear")(tokens), expected)


def test_tokens_without_positions_need_no_grid():
    assert SetPooling(GlobalAvgPool(4), "BND")(torch.ones(2, 7, 4)).equal(torch.ones(2, 4))


def test_tokens_with_positions_need_a_square_grid():
    with pytest.raises(ValueError, match="got 7 tokens, expected those of a square grid"):
        SetPooling(SAN(4, 8, position_features=2), "BND", positions="linear")(torch.ones(2, 7, 4))


def test_layers_come_before_the_aggregator():
    doubled = SetPooling(GlobalAvgPool(4), elementwise=nn.Hardtanh(0, 0.5))
    assert doubled(torch.ones(2, 4, 3, 3)).equal(torch.full((2, 4), 0.5))


def test_output_keeps_its_axes_if_asked_to():
    assert SetPooling(GlobalAvgPool(4), keep_dims=True)(torch.ones(2, 4, 3, 3)).shape == (2, 4, 1, 1)


def test_layers_see_each_element_as_a_pooled_vector():
    torch.manual_seed(0)
    layers = nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.LayerNorm(6), nn.Linear(6, 3)
    x = torch.randn(2, 5, 4)
    expected = layers[0](x.transpose(1, 2)[..., None])
    expected = layers[3](layers[2](layers[1](expected)[..., 0].transpose(1, 2)))
    assert_close(PerElement(zip(layers, (4, 4, 2, 2), strict=True))(x), expected)


def test_shape_annotations_are_checked_in_tests():
    with pytest.raises(jaxtyping.TypeCheckError):
        PerElement([(nn.Linear(4, 3), 2)])(torch.randn(5, 4))
