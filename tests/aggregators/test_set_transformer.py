import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import PMA, SetTransformer


def test_is_self_attention_before_pma():
    torch.manual_seed(0)
    layer = SetTransformer(8, num_blocks=2, num_queries=3, num_heads=2)
    pma = PMA(8, num_queries=3, num_heads=2)
    pma.load_state_dict({name: layer.state_dict()[name] for name in pma.state_dict()})
    x, mask = torch.randn(2, 5, 8), torch.tensor([[True, False, True, True, False], [True] * 5])
    z = x.masked_fill(~mask[..., None], 0)
    for block in layer.self_attention:
        attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        projections = block.query_projection, block.key_value_projection
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
            attention.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
        attention.out_proj = block.out_projection
        hidden = block.norm_1(z + attention(z, z, z, key_padding_mask=~mask)[0])
        z = block.norm_2(hidden + block.feed_forward(hidden).relu())
    assert_close(layer(x, mask), pma(z, mask))


def test_elements_see_each_other():
    """A mean of single elements would give the mean of the outputs."""
    torch.manual_seed(0)
    layer, x = SetTransformer(8), torch.randn(1, 2, 8)
    alone = torch.stack([layer(x[:, i : i + 1]) for i in range(2)]).mean(0)
    assert not torch.allclose(layer(x), alone, atol=1e-3)


def test_no_blocks_are_refused():
    with pytest.raises(ValueError, match="SetTransformer: got num_blocks=0, expected at least 1"):
        SetTransformer(8, num_blocks=0)
    with pytest.raises(ValueError, match="SetTransformer: got num_heads=3, expected a divisor of in_features=8"):
        SetTransformer(8, num_heads=3)
