import torch
from torch.testing import assert_close

from set_aggregation.aggregators import GatedAttentionPool


def test_is_equation_9():
    torch.manual_seed(0)
    layer, x = GatedAttentionPool(3, 5).double(), torch.randn(4, 3, dtype=torch.float64)
    v, u, w = layer.projection.weight, layer.gate.weight, layer.score.weight[0]
    powers = [torch.exp(w @ (torch.tanh(v @ h) * torch.sigmoid(u @ h))) for h in x]
    expected = sum(power / sum(powers) * h for power, h in zip(powers, x, strict=True))
    assert_close(layer(x[None])[0], expected)


def test_returns_the_weights_of_the_average():
    torch.manual_seed(0)
    layer, x = GatedAttentionPool(3, 5), torch.randn(3, 4, 3)
    mask = torch.tensor([[True, False, True, True], [True] * 4, [False] * 4])
    y, weights = layer(x, mask, return_weights=True)
    assert_close((weights[..., None] * x).sum(1), y)
    assert_close(weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    assert (weights[~mask] == 0).all()
    assert torch.equal(y, layer(x, mask))
