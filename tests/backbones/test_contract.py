"""What every backbone promises, for all that the library exports."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import jaxtyping
import pytest
import torch
import yaml

from set_aggregation import backbones
from set_aggregation.backbones import Backbone

CONFIGS = Path(__file__).parents[2] / "configs" / "backbone"
EXPORTED = sorted({getattr(backbones, name) for name in backbones.__all__} - {Backbone}, key=lambda cls: cls.__name__)


NAMES = {"TimmBackbone": ("timm", "test_resnet"), "TorchvisionBackbone": ("torchvision", "resnet18")}


@pytest.fixture(params=EXPORTED)
def backbone_class(request):
    return request.param


@cache
def built(backbone_class, in_channels):
    if backbone_class.__name__ not in NAMES:
        return backbone_class(in_channels=in_channels)
    package, name = NAMES[backbone_class.__name__]
    pytest.importorskip(package, reason=f"{package} is not installed")
    return backbone_class(name, in_channels=in_channels)


@pytest.fixture
def make(backbone_class):
    """Makes a copy of a new backbone; those that are families make a small member."""
    return lambda in_channels=3: deepcopy(built(backbone_class, in_channels))


def test_has_a_config(backbone_class):
    class_paths = [yaml.safe_load(path.read_text())["class_path"] for path in CONFIGS.rglob("*.yaml")]
    assert backbone_class.__name__ in {class_path.rpartition(".")[2] for class_path in class_paths}


@pytest.mark.parametrize("in_channels", [1, 3])
def test_makes_a_feature_map_of_out_features_channels(make, in_channels):
    backbone = make(in_channels=in_channels)
    assert backbone.in_channels == in_channels
    features = backbone(torch.randn(2, in_channels, 32, 32))
    assert features.ndim == 4
    assert features.shape[:2] == (2, backbone.out_features)


def test_images_of_a_batch_are_independent(make):
    torch.manual_seed(0)
    backbone = make().eval().double()
    images = torch.randn(2, backbone.in_channels, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(backbone(images)[:1], backbone(images[:1]))


def test_shape_annotations_are_checked_in_tests(make):
    with pytest.raises(jaxtyping.TypeCheckError):
        make()(torch.randn(3, 32, 32))


def test_building_leaves_statistics_alone(make):
    """What is tried out on a network while it is built."""
    for name, buffer in make().named_buffers():
        if name.endswith(("running_mean", "num_batches_tracked")):
            assert not buffer.any()
