import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import GlobalMaxPool, Quantile


@pytest.mark.parametrize("q", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_is_torch_quantile_of_the_real_elements(q):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True, False, True], [True] * 6])
    expected = torch.stack([one[real].quantile(q, dim=0) for one, real in zip(x, mask, strict=True)])
    assert_close(Quantile(3, q)(x, mask), expected)


def test_the_median_is_not_moved_by_an_infinite_element():
    assert Quantile(1)(torch.tensor([[[1.0], [torch.inf], [2.0]]])).item() == 2
    assert Quantile(1, 0.25)(torch.tensor([[[1.0], [torch.inf], [2.0]]])).item() == 1.5


def test_the_quantile_of_one_is_the_maximum():
    x = torch.randn(2, 5, 3)
    assert torch.equal(Quantile(3, 1.0)(x), GlobalMaxPool(3)(x))


@pytest.mark.parametrize("q", [-0.1, 1.1, torch.nan])
def test_a_quantile_outside_0_to_1_is_refused(q):
    with pytest.raises(ValueError, match=f"Quantile: got q={q}, expected a number from 0 to 1"):
        Quantile(3, q)
