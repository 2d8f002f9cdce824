import pytest
import torch
from torch.testing import assert_close

from set_aggregation.aggregators import Conv1x1


@pytest.mark.parametrize("channels", [1, 32])
def test_is_a_convolution_of_the_feature_map(channels):
    torch.manual_seed(0)
    layer = Conv1x1(3, channels, set_size=20)
    convolution = torch.nn.Conv2d(3, channels, kernel_size=1)
    with torch.no_grad():
        convolution.weight.copy_(layer.projection.weight[:, :, None, None])
        convolution.bias.copy_(layer.projection.bias)
    feature_map = torch.randn(2, 3, 4, 5)
    expected = convolution(feature_map).permute(0, 2, 3, 1).flatten(1)  # channels of a pixel side by side
    assert_close(layer(feature_map.flatten(2).transpose(1, 2)), expected)


def test_has_one_channel_unless_told():
    assert Conv1x1(3, set_size=20).out_features == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "Conv1x1: got in_features=0, expected at least 1"),
        ({"channels": 0}, "Conv1x1: got channels=0, expected at least 1"),
        ({"set_size": 0}, "Conv1x1: got set_size=0, expected at least 1"),
        ({"set_size": None}, "Conv1x1: got set_size=None, expected the number of elements of its sets"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Conv1x1(**{"in_features": 3, "set_size": 5} | arguments)
