import pytest
import torch

from set_aggregation.aggregators import GlobalMaxPool


def test_is_adaptive_max_pooling_of_the_feature_map():
    feature_map = torch.randn(2, 3, 4, 5)
    pooled = torch.nn.AdaptiveMaxPool2d(1)(feature_map).flatten(1)
    assert torch.equal(GlobalMaxPool(3)(feature_map.flatten(2).transpose(1, 2)), pooled)


def test_padding_does_not_win_over_negative_elements():
    x = torch.tensor([[[-2.0], [-1.0], [5.0]]])
    assert GlobalMaxPool(1)(x, torch.tensor([[True, True, False]])).item() == -1


def test_gradient_goes_to_the_largest_element_of_each_feature():
    x = torch.tensor([[[1.0, 6.0], [3.0, 2.0]]], requires_grad=True)
    GlobalMaxPool(2)(x).sum().backward()
    assert x.grad.tolist() == [[[0, 1], [1, 0]]]


def test_size_below_one_is_refused():
    with pytest.raises(ValueError, match="GlobalMaxPool: got in_features=0, expected at least 1"):
        GlobalMaxPool(0)


@pytest.mark.parametrize("largest", [0.0, 2.0])
def test_equal_elements_share_the_gradient_in_ragged_sets_as_in_padded_ones(largest):
    x = torch.tensor([[[largest], [largest], [-1.0]]], requires_grad=True)
    for call in (GlobalMaxPool(1), lambda x: GlobalMaxPool(1).ragged(x[0], torch.tensor([0, 3]))):
        x.grad = None
        call(x).sum().backward()
        assert x.grad.flatten().tolist() == [0.5, 0.5, 0]
