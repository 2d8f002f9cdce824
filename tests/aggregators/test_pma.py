import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import PMA


def test_is_the_multihead_attention_of_torch_between_dense_layers():
    torch.manual_seed(0)
    layer = PMA(8, num_queries=3, num_heads=2)
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    block = layer.block
    projections = block.query_projection, block.key_value_projection
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
        attention.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
    attention.out_proj = block.out_projection
    x, mask = torch.randn(2, 5, 8), torch.tensor([[True, False, True, True, False], [True] * 5])
    queries = layer.queries.expand(2, -1, -1)
    z = layer.feed_forward(x).relu()
    hidden = block.norm_1(queries + attention(queries, z, z, key_padding_mask=~mask)[0])
    expected = block.norm_2(hidden + block.feed_forward(hidden).relu())
    assert_close(layer(x, mask), expected.flatten(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_queries": 0}, "PMA: got num_queries=0, expected at least 1"),
        ({"num_heads": 0}, "PMA: got num_heads=0, expected at least 1"),
        ({"num_heads": 3}, "PMA: got num_heads=3, expected a divisor of in_features=8"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PMA(8, **arguments)
