import pytest
import torch
from torch import nn

from set_aggregation.models.initialization import take_weights


def test_what_fits_is_taken_and_the_rest_is_listed():
    source, module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5)), nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    module.append(nn.Linear(4, 1, bias=False))
    own = module[1].weight.clone()
    left_out = take_weights(module, {**source.state_dict(), "more": torch.zeros(1)})
    assert torch.equal(module[0].weight, source[0].weight)
    assert torch.equal(module[1].weight, own)
    assert [line.partition(" ")[0] for line in left_out] == ["1.bias", "1.weight", "more", "2.weight"]


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="2 weights, none of which fits"):
        take_weights(nn.Linear(2, 3), nn.Linear(3, 4).state_dict())
