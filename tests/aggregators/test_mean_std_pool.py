import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import MeanStdPool


def test_is_mean_then_standard_deviation():
    x = torch.randn(2, 5, 3)
    std, mean = torch.std_mean(x, dim=1, correction=0)
    assert_close(MeanStdPool(3)(x), torch.cat((mean, std), dim=1))


def test_a_large_mean_takes_no_digits_of_the_deviation():
    x = torch.tensor([[[10_000.0], [10_001.0], [10_002.0]]])
    assert_close(MeanStdPool(1)(x)[0, 1].item(), (2 / 3) ** 0.5, rtol=1e-6, atol=0)


def test_half_precision_does_not_overflow():
    x = torch.tensor([[[-400.0], [400.0]]], dtype=torch.float16)  # whose square is beyond its range
    assert MeanStdPool(1)(x).tolist() == [[0, 400]]


@pytest.mark.parametrize("num_elements", [1, 4])
def test_equal_elements_have_deviation_and_gradient_zero(num_elements):
    x = torch.full((1, num_elements, 2), 3.0, requires_grad=True)
    std = MeanStdPool(2)(x)[:, 2:]
    std.sum().backward()
    assert (std == 0).all()
    assert (x.grad == 0).all()
