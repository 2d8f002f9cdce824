import torch
import torch.nn.functional as F
from torch.testing import assert_close

from set_aggregation.aggregators import AttentionPool, GlobalAvgPool


def test_begins_as_average_pooling():
    x = torch.randn(2, 5, 3)
    assert_close(AttentionPool(3)(x), GlobalAvgPool(3)(x))


def test_is_attention_of_one_query_with_the_elements_for_keys_and_values():
    torch.manual_seed(0)
    layer, x = AttentionPool(3), torch.randn(2, 5, 3)
    torch.nn.init.normal_(layer.query)
    expected = F.scaled_dot_product_attention(layer.query.expand(2, 1, 3), x, x)[:, 0]
    assert_close(layer(x), expected)


def test_large_scores_do_not_overflow():
    layer = AttentionPool(1)
    torch.nn.init.constant_(layer.query, 1000.0)
    x = torch.tensor([[[1.0], [2.0], [-3.0]]], requires_grad=True)
    assert layer(x).item() == 2
    layer(x).sum().backward()
    assert x.grad.isfinite().all()
