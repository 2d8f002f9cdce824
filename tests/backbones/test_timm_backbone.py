import sys

import pytest
import torch
from torch.testing import assert_close

from set_aggregation.backbones import TimmBackbone


@pytest.fixture(autouse=True)
def timm():
    return pytest.importorskip("timm", reason="timm is not installed")  # which takes two seconds


def test_gives_what_the_network_gives_to_its_pooling():
    torch.manual_seed(0)
    backbone = TimmBackbone("test_resnet").eval()
    images = torch.randn(2, 3, 64, 64)
    assert_close(backbone(images), backbone.network.forward_features(images))


@pytest.mark.parametrize(
    ("arguments", "size", "expected"),
    [
        ({"name": "test_resnet"}, (64, 64), (96, 2, 2)),
        ({"name": "test_resnet", "out_index": 2}, (64, 64), (48, 8, 8)),
        ({"name": "mobilenetv3_small_050"}, (64, 64), (1024, 2, 2)),
        ({"name": "test_vit", "image_size": (128, 64)}, (128, 64), (64, 8, 4)),
        ({"name": "test_vit", "image_size": (64, 64), "out_index": 1}, (64, 64), (64, 4, 4)),
        ({"name": "test_mambaout"}, (64, 64), (256, 2, 2)),
    ],
)
def test_maps_and_tokens_of_all_layouts_become_a_map(arguments, size, expected):
    backbone = TimmBackbone(**arguments)
    features = backbone(torch.randn(2, 3, *size))
    assert features.shape[1] == backbone.out_features == expected[0]
    assert features.shape[2:] == expected[1:]
    features.sum().backward()
    assert not [name for name, weight in backbone.named_parameters() if weight.grad is None]


def test_tokens_lie_where_they_were_in_the_image():
    torch.manual_seed(0)
    backbone = TimmBackbone("test_vit", image_size=(64, 64)).eval()
    images = torch.randn(1, 3, 64, 64)
    tokens = backbone.network.forward_features(images)
    assert_close(backbone(images)[0, :, 1, 2], tokens[0, 1 + 1 * 4 + 2])


def test_is_in_training_mode():
    assert all(module.training for module in TimmBackbone("test_resnet", out_index=1).modules())
    assert all(module.training for module in TimmBackbone("test_resnet").modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "no_such"}, r"TimmBackbone: got no_such, which cannot be built \(Unknown model \(no_such\)\)"),
        ({"name": "test_resnet", "out_index": 9}, "TimmBackbone: got test_resnet, which cannot be built"),
        ({"name": "test_resnet", "image_size": (64, 64)}, "got an unexpected keyword argument 'img_size'"),
        ({"name": "inception_next_atto"}, "gives neither a feature map .* name another out_index or another network"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        TimmBackbone(**arguments)
    assert "\n" not in str(raised.value)


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch, timm):
    def offline(*args, **kwargs):
        raise OSError("Name or service not known\nmore of it")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ConnectionError, match=r"got no weights of test_resnet \(Name or service not known\); .*false$"):
        TimmBackbone("test_resnet", pretrained=True)


def test_without_timm_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"got no timm, expected it: pip install 'set-aggregation\[timm\]'"):
        TimmBackbone("test_resnet")
