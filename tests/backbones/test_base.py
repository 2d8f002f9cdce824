"""The order of the axes of the features of other libraries' networks."""

import pytest
import torch

from set_aggregation.backbones.base import layout_of


@pytest.mark.parametrize(
    ("shape", "image_size", "layout"),
    [
        ((2, 512, 7, 7), (224, 224), "BDhw"),
        ((2, 7, 7, 512), (224, 224), "BhwD"),
        ((2, 50, 512), (224, 224), "BND"),
        ((2, 512, 4, 2), (100, 60), "BDhw"),  # sizes of a map may be rounded up
        ((2, 512), (224, 224), None),
        ((2, 512, 1, 1), (224, 224), None),
    ],
)
def test_layout_of_features(shape, image_size, layout):
    assert layout_of(torch.Size(shape), image_size) == layout
