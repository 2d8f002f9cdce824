import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from set_aggregation.aggregators import SimPool


@pytest.mark.parametrize("gamma", [1.0, 1.25, 2.0])
def test_is_the_formula(gamma):
    torch.manual_seed(0)
    layer, x = SimPool(4, gamma).double(), torch.randn(5, 4, dtype=torch.float64)
    normed = F.layer_norm(x, (4,), eps=1e-6)
    query = layer.query_projection.weight @ x.mean(0)
    weights = torch.softmax(torch.stack([query @ (layer.key_projection.weight @ k) for k in normed]) / math.sqrt(4), 0)
    values = normed - normed.min() + 1e-6
    expected = sum(a * v**gamma for a, v in zip(weights, values, strict=True)) ** (1 / gamma)
    y, returned = layer(x[None], return_weights=True)
    assert_close(y[0], expected)
    assert_close(returned[0], weights)


@pytest.mark.parametrize("gamma", [0.5, math.inf, math.nan])
def test_an_exponent_below_one_is_refused(gamma):
    with pytest.raises(ValueError, match=f"SimPool: got gamma={gamma}, expected a number of at least 1"):
        SimPool(4, gamma)
