import pytest
import torch
from torch import nn
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, DeepSets


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("position_features", [0, 2])
def test_with_one_dense_layer_and_relu_it_is_san(reduction, position_features):
    torch.manual_seed(0)
    san = SAN(3, 7, reduction, position_features=position_features)
    phi = nn.Sequential(san.projection, nn.ReLU())
    deep_sets = DeepSets(3, 7, phi, reduction, position_features)
    x, mask = torch.randn(2, 5, 3), torch.tensor([[True, False, True, True, False], [False, True, True, True, True]])
    positions = torch.randn(5, position_features) if position_features else None
    assert_close(deep_sets(x, mask, positions), san(x, mask, positions))


def test_sums_what_the_network_makes_of_each_element():
    torch.manual_seed(0)
    deep_sets = DeepSets(3, 7)
    x = torch.randn(5, 3)
    assert_close(deep_sets(x[None])[0], sum(deep_sets.phi(element) for element in x))


def test_default_network_has_two_dense_layers():
    shapes = [tuple(parameter.shape) for parameter in DeepSets(3, 7, position_features=2).parameters()]
    assert shapes == [(7, 5), (7,), (7, 7), (7,)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "DeepSets: got in_features=0, expected at least 1"),
        ({"reduction": "max"}, "DeepSets: got reduction='max', expected 'sum' or 'mean'"),
        ({"position_features": -1}, "DeepSets: got position_features=-1, expected 0 or more"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, unchecked_shapes):
    with pytest.raises(ValueError, match=message):
        DeepSets(**{"in_features": 3, "out_features": 7} | arguments)


@pytest.mark.parametrize(
    ("position_features", "shape", "message"),
    [
        (2, None, "got positions of 0 features, .* position_features=2"),
        (None, (5, 2), "got positions of 2 features, .* position_features=0"),
        (2, (6, 2), "got positions of shape .6, 2., expected .N=5, P."),
    ],
)
def test_wrong_positions_are_refused(position_features, shape, message, unchecked_shapes):
    deep_sets = DeepSets(3, 7, position_features=position_features)
    with pytest.raises(ValueError, match=f"DeepSets: {message}"):
        deep_sets(torch.randn(4, 5, 3), None, None if shape is None else torch.randn(shape))
