import pytest
import torch

from set_aggregation.aggregators import GlobalAvgPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.models.description import labels, num_parameters
from tests.support.noise import noise, small_classifier


def test_labels_of_a_san():
    torch.manual_seed(5)
    data = noise(several_sizes=True)
    assert labels(small_classifier(), data) == {"aggregator": "SAN", "data": data.title, "width": 5, "seed": 5}


@pytest.mark.parametrize(("hidden_features", "width"), [(None, 64), (12, 12)])
def test_width_is_the_input_of_the_last_layer(hidden_features, width):
    model = SetClassifier(SmallCNN(1), GlobalAvgPool, 10, hidden_features=hidden_features, dropout=0.1)
    assert labels(model, noise())["width"] == model.head.classifier.in_features == width


def test_parameters_of_each_part_with_frozen_ones():
    counts = num_parameters(small_classifier(hidden_features=9).requires_grad_(False))
    backbone = 9 * 32 + 32 + 9 * 32 * 64 + 64 + 9 * 64 * 64 + 64
    aggregator = (64 + 2) * 5 + 5  # channels and positions
    head = 5 * 9 + 9 + 9 * 7 + 7
    parts = {"backbone": backbone, "aggregator": aggregator, "head": head}
    assert counts == {**parts, "all": backbone + aggregator + head}
