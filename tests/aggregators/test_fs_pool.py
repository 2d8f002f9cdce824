import numpy as np
import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import FSPool, GlobalMaxPool


@pytest.mark.parametrize("num_elements", [1, 2, 5, 40])
def test_weights_the_ranks_by_functions_interpolated_between_their_values(num_elements):
    torch.manual_seed(0)
    layer = FSPool(3, num_pieces=7).double()
    x = torch.randn(1, num_elements, 3, dtype=torch.float64)
    ranks = np.linspace(0, 1, num_elements)
    expected = [
        np.interp(ranks, np.linspace(0, 1, 8), weight) @ np.sort(feature)[::-1]
        for weight, feature in zip(layer.weight.detach().numpy(), x[0].T.numpy(), strict=True)
    ]
    assert_close(layer(x)[0].detach(), torch.tensor(expected))


@pytest.mark.parametrize("masked", [False, True])
def test_sum_and_maximum_are_special_cases(masked):
    x, mask = torch.randn(2, 5, 3), torch.tensor([[True, False, True, True, False], [True] * 5]) if masked else None
    layer = FSPool(3, num_pieces=4)
    torch.nn.init.ones_(layer.weight)
    assert_close(layer(x, mask), x.sum(1) if mask is None else (x * mask[..., None]).sum(1))
    with torch.no_grad():
        layer.weight[:, 1:] = 0
    assert_close(layer(x[:, :4]), GlobalMaxPool(3)(x[:, :4]))  # of ranks 0, 1/3, ... the first lies in the first piece


def test_no_pieces_are_refused():
    with pytest.raises(ValueError, match="FSPool: got num_pieces=0, expected at least 1"):
        FSPool(3, 0)
