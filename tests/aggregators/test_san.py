import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, GlobalAvgPool, GlobalMaxPool


def equation_5(san, x, mask, positions):
    """The formula, one number at a time."""
    weight, bias = san.projection.weight.tolist(), san.projection.bias.tolist()
    output = []
    for elements, real, places in zip(x.tolist(), mask.tolist(), positions.tolist(), strict=True):
        row = []
        for v, b in zip(weight, bias, strict=True):
            y = 0.0
            for element, is_real, place in zip(elements, real, places, strict=True):
                if is_real:
                    y += max(0.0, sum(p * q for p, q in zip(v, element + place, strict=True)) + b)
            row.append(y / sum(real) if san.reduction == "mean" else y)
        output.append(row)
    return torch.tensor(output, dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("position_features", [0, 2])
def test_equation_5(reduction, position_features):
    torch.manual_seed(0)
    san = SAN(3, 7, reduction, position_features=position_features).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    positions = torch.randn(2, 5, position_features, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True, False], [False, True, True, True, True]])
    assert_close(san(x, mask, positions), equation_5(san, x, mask, positions))


def test_reduction_is_sum_unless_told():
    assert SAN(3, 7).reduction == "sum"


def test_positions_of_the_batch_are_those_of_each_set():
    san = SAN(3, 7, position_features=2)
    x, positions = torch.randn(4, 5, 3), torch.randn(5, 2)
    assert_close(san(x, None, positions), san(x, None, positions.expand(4, 5, 2)))


def test_positions_take_the_dtype_of_the_elements():
    san = SAN(3, 7, position_features=2).bfloat16()
    assert san(torch.randn(4, 5, 3).bfloat16(), None, torch.randn(5, 2)).dtype == torch.bfloat16


def test_tells_sets_of_equal_mean_and_maximum_apart():
    torch.manual_seed(0)
    one, other = torch.tensor([[[0.0], [3.0], [3.0]]]), torch.tensor([[[1.0], [2.0], [3.0]]])
    assert torch.equal(GlobalAvgPool(1)(one), GlobalAvgPool(1)(other))
    assert torch.equal(GlobalMaxPool(1)(one), GlobalMaxPool(1)(other))
    san = SAN(1, 64)
    assert not torch.allclose(san(one), san(other))


def test_only_the_sum_counts_how_often_an_element_occurs():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    twice = torch.cat((x, x), dim=1)
    san = SAN(3, 7).double()
    assert_close(san(twice), 2 * san(x))
    san.reduction = "mean"
    assert_close(san(twice), san(x))


def test_power_mean_tends_to_max_pooling():
    """Remark 1: with the activation t^p, followed by its inverse, on positive numbers; the error is log(N) / p."""

    class Power(nn.Module):
        def forward(self, t):
            return t**p

    p = 500
    torch.manual_seed(0)
    x = 0.5 + torch.rand(2, 9, 4, dtype=torch.float64) / 2
    san = SAN(4, 4, "mean", activation=Power()).double()
    nn.init.eye_(san.projection.weight)
    nn.init.zeros_(san.projection.bias)
    assert_close(san(x) ** (1 / p), GlobalMaxPool(4)(x), rtol=math.log(9) / p, atol=0)


def test_activation_is_the_one_given():
    torch.manual_seed(0)
    san = SAN(3, 7, activation=nn.Tanh())
    x = torch.randn(2, 5, 3)
    assert_close(san(x), san.projection(x).tanh().sum(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "SAN: got in_features=0, expected at least 1"),
        ({"out_features": 0}, "SAN: got out_features=0, expected at least 1"),
        ({"reduction": "max"}, "SAN: got reduction='max', expected 'sum' or 'mean'"),
        ({"position_features": -1}, "SAN: got position_features=-1, expected 0 or more"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, unchecked_shapes):
    with pytest.raises(ValueError, match=message):
        SAN(**{"in_features": 3, "out_features": 7} | arguments)


@pytest.mark.parametrize(
    ("position_features", "shape", "message"),
    [
        (2, None, "got positions of 0 features, .* position_features=2"),
        (None, (5, 2), "got positions of 2 features, .* position_features=0"),
        (2, (5, 3), "got positions of 3 features, .* position_features=2"),
        (2, (6, 2), "got positions of shape .6, 2., expected .N=5, P."),
    ],
)
def test_wrong_positions_are_refused(position_features, shape, message, unchecked_shapes):
    san = SAN(3, 7, position_features=position_features)
    with pytest.raises(ValueError, match=f"SAN: {message}"):
        san(torch.randn(4, 5, 3), None, None if shape is None else torch.randn(shape))
