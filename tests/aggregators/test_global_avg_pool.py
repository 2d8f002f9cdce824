import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import GlobalAvgPool


def test_is_adaptive_average_pooling_of_the_feature_map():
    feature_map = torch.randn(2, 3, 4, 5)
    pooled = torch.nn.AdaptiveAvgPool2d(1)(feature_map).flatten(1)
    assert_close(GlobalAvgPool(3)(feature_map.flatten(2).transpose(1, 2)), pooled)


def test_divides_by_the_number_of_real_elements():
    x = torch.tensor([[[1.0], [3.0], [8.0]]])
    assert GlobalAvgPool(1)(x, torch.tensor([[True, True, False]])).item() == 2


def test_size_below_one_is_refused():
    with pytest.raises(ValueError, match="GlobalAvgPool: got in_features=0, expected at least 1"):
        GlobalAvgPool(0)


@pytest.mark.parametrize("masked", [False, True])
def test_half_precision_does_not_overflow(masked):
    x = torch.full((1, 1000, 1), 100.0, dtype=torch.float16)  # whose sum is beyond its range
    assert GlobalAvgPool(1)(x, torch.ones(1, 1000, dtype=torch.bool) if masked else None).item() == 100
    assert GlobalAvgPool(1).ragged(x[0], torch.tensor([0, 1000])).item() == 100
