"""replace_pooling on one architecture for each branch of the code; the sweep has the others."""

import copy

import pytest
import torch
from torch.testing import assert_close

from set_aggregation import replace_pooling
from set_aggregation.aggregators import SAN, GlobalAvgPool
from set_aggregation.pooling import Pool

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def timm():
    return pytest.importorskip("timm", reason="timm is not installed")  # takes two seconds


AVERAGED = {
    "a module": lambda timm: timm.create_model("test_resnet"),
    "a module with channels last": lambda timm: timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=24, depths=(1, 1), num_heads=(2, 2), img_size=64
    ),
    "a module, then a norm": lambda timm: timm.create_model("test_convnext"),
    "forward_head": lambda timm: timm.create_model("gmlp_ti16_224", img_size=64),
    "forward": lambda timm: models.DenseNet(8, (1, 1, 1, 1)),
}


@pytest.mark.parametrize("make", AVERAGED.values(), ids=AVERAGED)
def test_with_average_pooling_it_computes_what_it_did(make, timm):
    torch.manual_seed(0)
    model = make(timm).eval()
    images = torch.randn(2, 3, 64, 64)
    expected, state = model(images), model.state_dict()
    replace_pooling(model, GlobalAvgPool, image_size=64)
    model.load_state_dict(state, strict=False)
    assert_close(model(images), expected)


def test_class_tokens_are_left_out_and_timm_methods_work(timm):
    images = torch.randn(2, 3, 64, 64)
    model = replace_pooling(timm.create_model("test_vit", img_size=64), SAN, out_features=16, num_classes=7).eval()
    (pool,) = (module for module in model.modules() if isinstance(module, Pool))
    tokens = model.forward_features(images)
    elements = tokens[:, model.num_prefix_tokens :]
    vectors = pool.aggregator(elements) / elements.shape[1]
    assert_close(model(images), model.get_classifier()(vectors))
    assert_close(model.forward_head(tokens), model(images))
    twin = copy.deepcopy(model)
    twin.reset_classifier(3)
    assert (twin(images).shape, model(images).shape, model.num_classes) == ((2, 3), (2, 7), 7)
    with pytest.raises(ValueError, match="expected None"):
        model.reset_classifier(3, "avg")


REFUSED = {
    "class attention": (
        lambda timm: timm.create_model("cait_xxs24_224", img_size=64, depth=1),
        "only its class token uses",
    ),
    "learned pooling": (lambda timm: timm.create_model("test_vit3", img_size=64), "AttentionPoolLatent"),
    "pixels by their place": (lambda timm: models.alexnet(), "other outputs on|without a global"),
    "auxiliary classifiers": (lambda timm: models.googlenet(init_weights=False, aux_logits=True), "aux_logits=False"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_global_pooling_is_refused(make, message, timm):
    with pytest.raises(ValueError, match=message):
        replace_pooling(make(timm), SAN, out_features=16, num_classes=7, image_size=64)


def test_a_video_network_is_taken():
    videos = torch.randn(2, 3, 4, 32, 32)
    model = replace_pooling(models.video.r3d_18(), SAN, out_features=16, num_classes=7, example_inputs=videos)
    assert model(videos).shape == (2, 7)


def test_a_classifier_of_transformers_keeps_its_output_class():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BeitConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=64, num_labels=5
    )
    torch.manual_seed(0)
    model = transformers.BeitForImageClassification(config).eval()
    images = torch.randn(2, 3, 64, 64)
    norm = model.beit.pooler.layernorm
    torch.nn.init.uniform_(norm.weight)
    expected = model(images).logits
    state = model.state_dict()
    replace_pooling(model, GlobalAvgPool, image_size=64)
    model.load_state_dict(state, strict=False)
    assert_close(model(pixel_values=images).logits, expected)
    assert model.beit.pooler.layernorm is norm
