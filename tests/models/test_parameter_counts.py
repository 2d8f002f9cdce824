"""The sizes that the paper compares: parameters of aggregator and head, for 10 classes behind the small CNN."""

from functools import partial

import pytest

from set_aggregation.aggregators import SAN, Conv1x1, Flatten, GlobalAvgPool, GlobalMaxPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.models.classifier import SetClassifier


def count(aggregator, hidden_features, in_channels=3, image_size=(32, 32)):
    model = SetClassifier(SmallCNN(in_channels), aggregator, 10, image_size, hidden_features=hidden_features)
    return sum(parameter.numel() for part in (model.aggregator, model.head) for parameter in part.parameters())


@pytest.mark.parametrize(("width", "expected"), [(128, 9_866), (4096, 315_402)])
def test_san(width, expected):
    assert count(partial(SAN, out_features=width), hidden_features=None) == expected


@pytest.mark.parametrize("aggregator", [GlobalAvgPool, GlobalMaxPool])
@pytest.mark.parametrize(("width", "expected"), [(128, 9_610)])
def test_global_pooling(aggregator, width, expected):
    assert count(aggregator, hidden_features=width) == expected


@pytest.mark.parametrize(("width", "expected"), [(128, 9_675)])
def test_conv1x1(width, expected):
    assert count(Conv1x1, hidden_features=width) == expected


@pytest.mark.parametrize(("in_channels", "size", "expected"), [(3, 32, 525_706), (1, 28, 402_826)])
def test_flatten(in_channels, size, expected):
    assert count(Flatten, 128, in_channels, (size, size)) == expected
