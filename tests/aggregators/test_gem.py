import math

import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import GeM, GlobalAvgPool, GlobalMaxPool, PowerMeanSAN


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_is_the_formula(p):
    x = torch.rand(2, 5, 3, dtype=torch.float64)
    assert_close(GeM(3, p).double()(x), (x**p).mean(1) ** (1 / p))


def test_with_exponent_one_it_is_average_pooling():
    x = torch.rand(2, 5, 3)
    assert_close(GeM(3, p=1.0)(x), GlobalAvgPool(3)(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_with_a_large_exponent_it_is_max_pooling(dtype):
    x = (100 * torch.rand(2, 9, 3)).to(dtype)
    assert_close(GeM(3, p=1000.0).to(dtype)(x), GlobalMaxPool(3)(x), rtol=math.log(9) / 500, atol=0)


def test_negative_elements_count_as_zeros():
    x = torch.randn(2, 5, 3)
    assert torch.equal(GeM(3)(x), GeM(3)(x.relu()))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-10, 1e30])
@pytest.mark.parametrize("p", [1.0, 3.0, 50.0])
def test_no_element_moves_the_output_by_more_than_it_moves(scale, p):
    x = (scale * torch.tensor([[[1.0], [0.0], [1e-3]], [[0.0], [0.0], [0.0]]])).requires_grad_()
    layer = GeM(1, p)
    y = layer(x)
    y.sum().backward()
    assert y[1] == 0
    assert (y[0] > 0) == (scale > 0)
    assert x.grad.abs().max() <= 1
    assert layer.p.grad.isfinite().all()


def test_exponents_stay_above_one():
    layer = GeM(1, p=2.0)
    x = torch.rand(1, 5, 1)
    y = layer(x)
    with torch.no_grad():
        layer.p.fill_(0.0)
    assert_close(layer(x), y)
    layer(x).sum().backward()
    assert layer.p.grad < 0  # a smaller mean, by a larger p, which is one nearer to 1


def test_one_exponent_for_all_features_or_one_for_each():
    assert GeM(3).p.shape == (1,)
    assert GeM(3, per_channel=True).p.shape == (3,)


@pytest.mark.parametrize("p", [0.9, math.inf, math.nan])
def test_an_exponent_below_one_is_refused(p):
    with pytest.raises(ValueError, match=f"GeM: got p={p}, expected a number of at least 1"):
        GeM(3, p)


def test_is_a_power_mean_san_whose_directions_are_the_features():
    san = PowerMeanSAN(3, 3, p=2.5)
    torch.nn.init.eye_(san.projection.weight)
    torch.nn.init.zeros_(san.projection.bias)
    x, mask = torch.randn(2, 5, 3), torch.tensor([[True, False, True, True, False], [True] * 5])
    assert_close(GeM(3, p=2.5)(x, mask), san(x, mask))


def test_second_derivative_by_the_exponent_is_that_of_clamped_elements():
    """By the authors' clamp, of elements of which one is zero."""
    x = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]], dtype=torch.float64)
    layer = GeM(2).double()
    p = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def second(y, p):
        (first,) = torch.autograd.grad(y.sum(), p, create_graph=True)
        return torch.autograd.grad(first.sum(), p)[0].item()

    expected = second((x.clamp(min=1e-6) ** p).mean(1) ** (1 / p), p)
    assert_close(expected, -0.1263, rtol=1e-3, atol=0)
    assert_close(second(layer(x), layer.p), expected)
