import torch

from set_aggregation.aggregators import AvgMaxPool, GlobalAvgPool, GlobalMaxPool


def test_is_average_then_maximum():
    x, mask = torch.randn(2, 5, 3), torch.tensor([[True, False, True, True, False], [True] * 5])
    average, maximum = AvgMaxPool(3)(x, mask).chunk(2, dim=1)
    assert torch.equal(average, GlobalAvgPool(3)(x, mask))
    assert torch.equal(maximum, GlobalMaxPool(3)(x, mask))
