import jaxtyping
import pytest
import torch

from set_aggregation.backbones import SmallCNN


@pytest.mark.parametrize(("size", "expected"), [(32, 8), (28, 7), (22, 6), (42, 11)])
def test_size_is_halved_twice_and_rounded_up(size, expected):
    assert SmallCNN()(torch.randn(1, 3, size, size)).shape == (1, 64, expected, expected)


@pytest.mark.parametrize(("in_channels", "expected"), [(1, 55_744), (3, 56_320)])
def test_number_of_parameters(in_channels, expected):
    assert sum(parameter.numel() for parameter in SmallCNN(in_channels).parameters()) == expected


def test_features_are_not_negative():
    torch.manual_seed(0)
    features = SmallCNN()(torch.randn(2, 3, 8, 8))
    assert features.min() == 0 < features.max()


def test_shape_of_the_result_is_checked_in_tests():
    backbone = SmallCNN(3)
    backbone.layers = torch.nn.Identity()
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        backbone(torch.randn(2, 3, 8, 8))


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match="SmallCNN: got in_channels=0, expected at least 1"):
        SmallCNN(0)
