import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import StdPool


def test_is_the_standard_deviation():
    x = torch.randn(2, 5, 3)
    assert_close(StdPool(3)(x), torch.std(x, dim=1, correction=0))


def test_a_large_mean_takes_no_digits_of_the_deviation():
    x = torch.tensor([[[10_000.0], [10_001.0], [10_002.0]]])
    assert_close(StdPool(1)(x).item(), (2 / 3) ** 0.5, rtol=1e-6, atol=0)


def test_half_precision_does_not_overflow():
    x = torch.tensor([[[-400.0], [400.0]]], dtype=torch.float16)  # whose square is beyond its range
    assert StdPool(1)(x).item() == 400


@pytest.mark.parametrize("num_elements", [1, 4])
def test_equal_elements_have_deviation_and_gradient_zero(num_elements):
    x = torch.full((1, num_elements, 2), 3.0, requires_grad=True)
    std = StdPool(2)(x)
    std.sum().backward()
    assert (std == 0).all()
    assert (x.grad == 0).all()
