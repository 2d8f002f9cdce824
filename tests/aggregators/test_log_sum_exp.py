import math

import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import GlobalAvgPool, GlobalMaxPool, LogSumExp


@pytest.mark.parametrize("r", [0.1, 1.0, 5.0])
def test_is_the_formula(r):
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    assert_close(LogSumExp(3, r).double()(x), ((r * x).logsumexp(1) - math.log(5)) / r)


@pytest.mark.parametrize("r", [1e-3, 1e-6, 1e-9])
def test_as_sharpness_goes_to_zero_it_is_average_pooling_in_float32(r):
    """What is left is r / 2 times the variance."""
    x = torch.rand(2, 50, 3)
    assert_close(LogSumExp(3, r)(x), GlobalAvgPool(3)(x), rtol=0, atol=r / 8 + 3e-7)


@pytest.mark.parametrize("r", [1e3, 1e6])
def test_with_a_large_sharpness_it_is_max_pooling(r):
    x = 100 * torch.randn(2, 9, 3)
    assert_close(LogSumExp(3, r)(x), GlobalMaxPool(3)(x), rtol=1e-6, atol=2 * math.log(9) / r)


def test_one_large_element_among_many_keeps_its_digits():
    x = torch.full((1, 100_000, 1), -20.0)
    x[0, 7] = 0
    expected = x.double().logsumexp(1) - math.log(100_000)
    assert_close(LogSumExp(1)(x), expected.float(), rtol=1e-6, atol=0)


def test_gradients_of_far_elements_are_those_of_softmax():
    x = torch.tensor([[[-1000.0], [1000.0], [1000.0]]], requires_grad=True)
    LogSumExp(1, 10.0)(x).sum().backward()
    assert x.grad.flatten().tolist() == [0, 0.5, 0.5]


def test_sharpness_is_learned_unless_told():
    assert LogSumExp(3).log_r.requires_grad
    assert not LogSumExp(3, learn=False).log_r.requires_grad
    assert_close(LogSumExp(3, 5.0).log_r.exp().item(), 5.0, rtol=1e-6, atol=0)


@pytest.mark.parametrize("r", [0.0, -1.0, math.inf, math.nan])
def test_a_sharpness_not_above_zero_is_refused(r):
    with pytest.raises(ValueError, match=f"LogSumExp: got r={r}, expected a number above 0"):
        LogSumExp(3, r)
