import sys
from urllib.error import URLError

import pytest
import torch
from torch.testing import assert_close

from set_aggregation.backbones import TorchvisionBackbone

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")


NETWORKS = [
    ({"name": "mnasnet0_5"}, 64, (1280, 2, 2)),
    ({"name": "resnet18", "layer": "layer2"}, 64, (128, 8, 8)),
    ({"name": "mobilenet_v3_small"}, 64, (576, 2, 2)),
    ({"name": "shufflenet_v2_x0_5"}, 64, (1024, 2, 2)),
    ({"name": "squeezenet1_1", "layer": "features"}, 64, (512, 3, 3)),
    ({"name": "swin_t", "layer": "features.1"}, 64, (96, 16, 16)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "size", "expected"),
    [*NETWORKS[:2], *(pytest.param(*network, marks=pytest.mark.nightly) for network in NETWORKS[2:])],
)
def test_maps_of_all_layouts_become_a_map(arguments, size, expected):
    backbone = TorchvisionBackbone(**arguments)
    features = backbone(torch.randn(2, 3, size, size))
    assert features.shape[1:] == expected
    assert backbone.out_features == expected[0]
    features.sum().backward()
    assert not [name for name, weight in backbone.named_parameters() if weight.grad is None]


def small_vit(**_):
    return models.VisionTransformer(64, 16, 1, 2, 32, 64)


def small_densenet(**_):
    return models.DenseNet(8, (1, 1, 1, 1))


@pytest.mark.parametrize("layer", [None, "features.1"])
def test_channels_come_first(monkeypatch, layer):
    swin = models.SwinTransformer([4, 4], 8, [1, 1], [1, 1], [2, 2])
    monkeypatch.setattr(models, "get_model", lambda name, weights: swin)
    features, num_channels = TorchvisionBackbone("swin", layer=layer)(torch.randn(2, 3, 64, 64)), 8 if layer else 16
    assert features.shape == (2, num_channels, 128 // num_channels, 128 // num_channels)


def test_tokens_become_a_map(monkeypatch):
    monkeypatch.setattr(models, "get_model", lambda name, weights: small_vit())
    backbone = TorchvisionBackbone("vit").eval()
    images = torch.randn(1, 3, 64, 64)
    (tokens,) = backbone.network(images).values()
    assert tokens.shape == (1, 1 + 16, 32)
    assert_close(backbone(images)[0, :, 1, 2], tokens[0, 1 + 1 * 4 + 2])


def test_a_function_before_the_pooling_is_part_of_the_map(monkeypatch):
    model = small_densenet().eval()
    monkeypatch.setattr(models, "get_model", lambda name, weights: model)
    images = torch.randn(2, 3, 64, 64)
    expected = model.features(images).relu()
    assert_close(TorchvisionBackbone("densenet").eval()(images), expected)


def test_grey_images_are_seen_as_if_all_channels_were_alike():
    torch.manual_seed(0)
    colour = TorchvisionBackbone("resnet18", layer="conv1")
    torch.manual_seed(0)
    grey = TorchvisionBackbone("resnet18", layer="conv1", in_channels=1)
    images = torch.randn(2, 1, 64, 64)
    assert grey.in_channels == 1
    assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "no_such"}, "TorchvisionBackbone: got no_such, which cannot be built"),
        ({"name": "resnet18", "weights": "NO_SUCH"}, "got resnet18 with weights NO_SUCH"),
        ({"name": "resnet18", "layer": "layer9"}, "got layer layer9, which a ResNet does not have; .* such as conv1"),
        ({"name": "resnet18", "layer": "fc"}, "got layer fc of resnet18, which gives neither .* another layer"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        TorchvisionBackbone(**arguments)
    assert "\n" not in str(raised.value)


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch):
    def offline(name, weights):
        raise URLError("Name or service not known")

    monkeypatch.setattr(models, "get_model", offline)
    with pytest.raises(ConnectionError, match=r"got no weights of resnet18 with weights DEFAULT .* give weights null$"):
        TorchvisionBackbone("resnet18", weights="DEFAULT")


def test_without_torchvision_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ValueError, match=r"got no torchvision, expected it: pip install 'set-aggregation\[train\]'"):
        TorchvisionBackbone("resnet18")
