import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import CovariancePool


def matrix(y, size):
    """The symmetric matrix of which y is the upper triangle."""
    full = y.new_zeros(size, size)
    full[*torch.triu_indices(size, size)] = y
    return full + full.triu(1).T


def test_squared_it_is_the_covariance():
    torch.manual_seed(0)
    x = torch.randn(1, 9, 4, dtype=torch.float64)
    root = matrix(CovariancePool(4, num_iterations=20)(x)[0], 4)
    assert_close(root @ root, torch.cov(x[0].T, correction=0))


def test_scales_with_the_elements_and_does_not_see_where_they_lie():
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    layer = CovariancePool(4)
    assert_close(layer(1e-3 * x + 7), 1e-3 * layer(x))


@pytest.mark.parametrize("num_elements", [1, 4])
def test_equal_elements_have_output_and_gradient_zero(num_elements):
    x = torch.full((1, num_elements, 3), 3.0, requires_grad=True)
    y = CovariancePool(3)(x)
    y.sum().backward()
    assert (y == 0).all()
    assert (x.grad == 0).all()


def test_is_computed_in_float32_under_autocast():
    x = torch.randn(2, 9, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y = CovariancePool(4)(x)
    assert torch.equal(y, CovariancePool(4)(x))


def test_no_iterations_are_refused():
    with pytest.raises(ValueError, match="CovariancePool: got num_iterations=0, expected at least 1"):
        CovariancePool(3, 0)
