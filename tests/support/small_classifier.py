"""Image classifiers that are quick to build, and random images for them."""

import pytest
import torch
from PIL import Image

from set_aggregation import ImageClassifier
from set_aggregation.backbones import Backbone

POOLING = pytest.mark.skipif(torch.__version__ < "2.15", reason="older torch has a program for each parity")


class OneConvolution(Backbone):
    """A feature map of half the size, rounded up."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels, self.out_features = in_channels, 4
        self.convolution = torch.nn.Conv2d(in_channels, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return self.convolution(x).relu()


def classifier(aggregator="SAN", backbone="OneConvolution", image_size=(16, 16), in_channels=1, **images):
    """Build a classifier of three classes; backbone and aggregator are names, or names and arguments."""
    if not isinstance(backbone, dict):
        backbone = {"class_path": backbone, "init_args": {"in_channels": in_channels}}
    arguments = aggregator if isinstance(aggregator, dict) else {"class_path": aggregator}
    if arguments["class_path"] == "SAN":
        arguments.setdefault("init_args", {"out_features": 6})
    network = {
        "backbone": backbone,
        "aggregator": arguments,
        "num_classes": 3,
        "image_size": image_size and list(image_size),
    }
    training = images.pop("training", None)
    described = {"class_names": ["ant", "bee", "cow"], "in_channels": in_channels, "image_size": image_size}
    return ImageClassifier(network, described | images, training)


def noise(*shape):
    """Return random bytes."""
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def random_image(height=40, width=60, mode="RGB"):
    """Return a random image of Pillow."""
    pixels = noise(height, width, 3).numpy()
    return Image.fromarray(pixels).convert(mode)
