"""replace_pooling on the smallest networks of each family: every one has a place for an aggregator, and only one."""

import copy

import pytest
import torch
from torch.testing import assert_close

from set_aggregation import replace_pooling
from set_aggregation.aggregators import SAN, GlobalAvgPool

timm = pytest.importorskip("timm", reason="timm is not installed")
models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

SMALL_SWIN = {"embed_dim": 24, "depths": (1, 1), "num_heads": (2, 2), "img_size": 64}
# Name, arguments, size of the images, another size where it can be had.
TIMM = [
    ("convnext_zepto_rms", {}, 64, 96),
    ("cs3darknet_focus_s", {}, 64, 96),
    ("deit_tiny_patch16_224", {"img_size": 64, "depth": 2}, 64, None),
    ("densenet121", {"growth_rate": 8, "block_config": (1, 1, 1, 1)}, 64, 96),
    ("dla46_c", {}, 64, 96),
    ("edgenext_xx_small", {}, 64, 96),
    ("efficientvit_b0", {}, 64, 96),
    ("ese_vovnet19b_slim_dw", {}, 64, 96),
    ("eva02_tiny_patch14_224", {"img_size": 56, "depth": 2}, 56, None),
    ("fasternet_t0", {}, 64, 96),
    ("fastvit_t8", {}, 64, 96),
    ("ghostnet_050", {}, 64, 96),
    ("gmlp_ti16_224", {"img_size": 64}, 64, None),
    ("hgnetv2_b0", {}, 64, 96),
    ("inception_next_atto", {}, 64, 96),
    ("lcnet_035", {}, 64, 96),
    ("legacy_seresnet18", {}, 64, 96),
    ("mnasnet_small", {}, 64, 96),
    ("mobilenetv2_035", {}, 64, 96),
    ("mobilenetv3_small_050", {}, 64, 96),
    ("mobilenetv4_conv_small_035", {}, 64, 96),
    ("mobileone_s0", {}, 64, 96),
    ("mobilevit_xxs", {}, 64, 96),
    ("mobilevitv2_050", {}, 64, 96),
    ("pvt_v2_b0", {}, 64, 96),
    ("regnetx_002", {}, 64, 96),
    ("regnety_002", {}, 64, 96),
    ("repghostnet_050", {}, 64, 96),
    ("repvit_m0_9", {}, 64, 96),
    ("resnet10t", {}, 64, 96),
    ("resnetv2_18", {}, 64, 96),
    ("rexnet_100", {}, 64, 96),
    ("shvit_s1", {}, 96, 128),
    ("skresnet18", {}, 64, 96),
    ("starnet_s050", {}, 64, 96),
    ("swin_tiny_patch4_window7_224", SMALL_SWIN, 64, None),
    ("swinv2_cr_tiny_224", SMALL_SWIN, 64, None),
    ("test_byobnet", {}, 64, 96),
    ("test_coatnet", {"img_size": 64}, 64, None),
    ("test_convnext", {}, 64, 96),
    ("test_efficientnet", {}, 64, 96),
    ("test_mambaout", {}, 64, 96),
    ("test_maxvit", {"img_size": 64}, 64, None),
    ("test_nfnet", {}, 64, 96),
    ("test_vit", {"dynamic_img_size": True}, 64, 96),
    ("test_vit2", {"dynamic_img_size": True}, 64, 96),
    ("test_vit3", {"img_size": 64}, 64, None),
    ("test_vit_relpos", {"img_size": 64}, 64, None),
    ("tinynet_e", {}, 64, 96),
    ("xcit_nano_12_p16_224", {"depth": 2}, 64, 96),
]


def small_convnext():
    block = models.convnext.CNBlockConfig
    return models.ConvNeXt([block(32, 64, 1), block(64, 128, 1), block(128, 256, 1), block(256, None, 1)])


def small_maxvit():
    layers = {"stem_channels": 8, "block_channels": [8, 16], "block_layers": [1, 1], "head_dim": 8}
    return models.MaxVit((64, 64), partition_size=4, stochastic_depth_prob=0.0, **layers)


def small_resnet(**arguments):
    return models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], **arguments)


def small_swin(**arguments):
    layers = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "window_size": [4, 4]}
    return models.SwinTransformer([4, 4], **layers, **arguments)


def small_swin_v2():
    swin = models.swin_transformer
    return small_swin(block=swin.SwinTransformerBlockV2, downsample_layer=swin.PatchMergingV2)


# Name, how it is made, size of the images, another size, and the layers whose weights go.
TORCHVISION = [
    ("alexnet", models.alexnet, 128, 160, {"classifier.1", "classifier.4", "classifier.6"}),
    ("convnext", small_convnext, 64, 96, {"classifier.2"}),
    ("densenet", lambda: models.DenseNet(8, (1, 1, 1, 1)), 64, 96, {"classifier"}),
    ("efficientnet", models.efficientnet_b0, 64, 96, {"classifier.1"}),
    ("googlenet", lambda: models.googlenet(init_weights=False, aux_logits=False), 64, 96, {"fc"}),
    ("inception", lambda: models.inception_v3(init_weights=False, aux_logits=False), 128, 160, {"fc"}),
    ("maxvit", small_maxvit, 64, None, {"classifier.5"}),
    ("mnasnet", models.mnasnet0_5, 64, 96, {"classifier.1"}),
    ("mobilenet_v2", models.mobilenet_v2, 64, 96, {"classifier.1"}),
    ("mobilenet_v3", models.mobilenet_v3_small, 64, 96, {"classifier.3"}),
    ("regnet_x", models.regnet_x_400mf, 64, 96, {"fc"}),
    ("regnet_y", models.regnet_y_400mf, 64, 96, {"fc"}),
    ("resnet", models.resnet18, 64, 96, {"fc"}),
    ("resnext", lambda: small_resnet(groups=32, width_per_group=4), 64, 96, {"fc"}),
    ("shufflenet", models.shufflenet_v2_x0_5, 64, 96, {"fc"}),
    ("squeezenet", models.squeezenet1_1, 64, 96, {"classifier.1"}),
    ("swin", small_swin, 64, 96, {"head"}),
    ("swin_v2", small_swin_v2, 64, 96, {"head"}),
    ("vgg", lambda: models.vgg11(init_weights=False), 64, 96, {"classifier.0", "classifier.3", "classifier.6"}),
    ("vit", lambda: models.VisionTransformer(64, 16, 2, 2, 32, 64), 64, None, {"heads.head"}),
    ("wide_resnet", lambda: small_resnet(width_per_group=128), 64, 96, {"fc"}),
]
AVERAGED = {"densenet", "efficientnet", "googlenet", "inception", "mnasnet", "mobilenet_v2", "regnet_x", "regnet_y"}
AVERAGED |= {"resnet", "shufflenet", "swin", "swin_v2"}
# What is between pooling and classifier acts on each element afterwards: the same on a map of one pixel.
WITH_LAYERS_BETWEEN = {"convnext": 32, "mobilenet_v3": 32}


def with_san(make, size):
    return replace_pooling(make(), SAN, out_features=16, num_classes=7, image_size=(size, size))


def check(make, size, other_size):
    """Replaces the pooling of a model and gives the names of the weights that it has no more."""
    torch.manual_seed(0)
    model = make()
    before = dict(model.named_parameters())
    values = {name: weight.detach().clone() for name, weight in before.items()}
    images = torch.randn(2, 3, size, size)
    declared = hasattr(model, "forward_features")
    features = model.eval().forward_features(images) if declared else None

    assert replace_pooling(model.train(), SAN, out_features=16, num_classes=7, image_size=(size, size)) is model
    assert all(module.training for module in model.modules())
    after = {id(weight) for weight in model.parameters()}
    lost = {name for name, weight in before.items() if id(weight) not in after}
    assert all(torch.equal(before[name], values[name]) for name in before)
    if declared:
        assert_close(model.eval().forward_features(images), features)

    logits = model.train()(images)
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert not [name for name, weight in model.named_parameters() if weight.grad is None]
    (san,) = (module for module in model.modules() if isinstance(module, SAN))
    assert san.projection.weight.grad.abs().sum() > 0
    first = next(weight for name, weight in before.items() if weight.ndim == 4)
    assert first.grad.abs().sum() > 0

    twin = with_san(make, size)
    assert not torch.equal(twin.eval()(images), model.eval()(images))
    twin.load_state_dict(model.state_dict(), strict=True)
    assert_close(twin(images), model(images))
    if other_size is not None:
        assert model(torch.randn(1, 3, other_size, other_size)).shape == (1, 7)
    return model, lost


@pytest.mark.parametrize(("name", "arguments", "size", "other_size"), TIMM, ids=[case[0] for case in TIMM])
def test_timm(name, arguments, size, other_size):
    def make():
        return timm.create_model(name, **arguments)

    original = make()
    classifier = original.get_classifier()
    gone = {key for key, weight in original.named_parameters() if any(weight is p for p in classifier.parameters())}
    gone |= {key for key, _ in original.named_parameters() if key.startswith("attn_pool.")}  # a pooling, too
    model, lost = check(make, size, other_size)
    assert lost == gone
    assert model.num_classes == 7
    model.reset_classifier(3)
    assert model.num_classes == 3
    assert model(torch.randn(1, 3, size, size)).shape == (1, 3)


@pytest.mark.parametrize(
    ("make", "size", "other_size", "gone"), [case[1:] for case in TORCHVISION], ids=[case[0] for case in TORCHVISION]
)
def test_torchvision(make, size, other_size, gone):
    _, lost = check(make, size, other_size)
    assert {name.rpartition(".")[0] for name in lost} == gone


def test_every_family_of_torchvision_is_tried():
    families = {case[0].replace("_", "") for case in TORCHVISION}
    for name in models.list_models(module=models):
        plain = name.replace("_", "")
        assert any(plain.startswith(family) for family in families), name


@pytest.mark.parametrize("name", sorted(AVERAGED | set(WITH_LAYERS_BETWEEN)))
def test_with_average_pooling_it_computes_what_it_did(name):
    torch.manual_seed(0)
    _, make, size, other_size, _ = next(case for case in TORCHVISION if case[0] == name)
    model = make().eval()
    images = torch.randn(2, 3, *[WITH_LAYERS_BETWEEN.get(name, other_size)] * 2)
    expected = model(images)
    old = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    replace_pooling(model, GlobalAvgPool, image_size=(size, size))
    new = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    assert new is not old
    new.load_state_dict(old.state_dict())
    assert_close(model(images), expected)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet10t", 64),
        ("test_byobnet", 64),
        ("test_convnext", 32),
        ("mobilenetv3_small_050", 32),
        ("swin_tiny_patch4_window7_224", 64),
        ("inception_next_atto", 32),
        ("dla46_c", 64),
        ("gmlp_ti16_224", 64),
    ],
)
def test_with_average_pooling_a_model_of_timm_computes_what_it_did(name, size):
    torch.manual_seed(0)
    arguments, found = next((case[1], case[2]) for case in TIMM if case[0] == name)
    model = timm.create_model(name, **arguments).eval()
    images = torch.randn(2, 3, size, size)
    expected, old = model(images), model.get_classifier()
    replace_pooling(model, GlobalAvgPool, image_size=(found, found))
    new = model.get_classifier()
    new = getattr(new, "classifier", new)
    new.load_state_dict({key: value.view(getattr(new, key).shape) for key, value in old.state_dict().items()})
    assert_close(model(images), expected)


def seen(model, images):
    """What the aggregator of a model is given."""
    given = []
    (san,) = (module for module in model.modules() if isinstance(module, SAN))
    handle = san.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    model.eval()(images)
    handle.remove()
    return given[0]


def test_class_tokens_are_left_out():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    model = replace_pooling(timm.create_model("test_vit", img_size=64), SAN, out_features=16)
    tokens = model.eval().forward_features(images)
    assert model.num_prefix_tokens == 1
    assert_close(seen(model, images), tokens[:, 1:])

    model = replace_pooling(models.VisionTransformer(64, 16, 2, 2, 32, 64), SAN, out_features=16)
    tokens = torch.cat((model.class_token.expand(2, -1, -1), model._process_input(images)), 1)
    assert_close(seen(model, images), model.encoder(tokens)[:, 1:])


def test_a_copy_resets_its_own_classifier():
    images = torch.randn(2, 3, 64, 64)
    model = replace_pooling(timm.create_model("test_resnet"), SAN, out_features=16, num_classes=7)
    twin = copy.deepcopy(model)
    twin.reset_classifier(3)
    assert (twin(images).shape, model(images).shape) == ((2, 3), (2, 7))
    model.reset_classifier(0)
    assert (twin(images).shape, model(images).shape) == ((2, 3), (2, 16))


def test_another_pooling_of_timm_is_refused():
    model = replace_pooling(timm.create_model("test_resnet"), SAN, out_features=16)
    with pytest.raises(ValueError, match="reset_classifier: got global_pool='avg', expected None"):
        model.reset_classifier(3, "avg")


def test_models_with_several_classifiers_are_refused():
    model = timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, depth=1)
    with pytest.raises(ValueError, match="got a VisionTransformerDistilled with several classifiers, for distillation"):
        replace_pooling(model, SAN, out_features=16)
    assert model.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 1000)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_are_dropped(name):
    model = models.get_model(name, init_weights=False, aux_logits=True)
    replace_pooling(model, SAN, out_features=16, num_classes=7, image_size=(128, 128))
    assert model.train()(torch.randn(2, 3, 128, 128)).shape == (2, 7)
