import copy
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from set_aggregation import replace_pooling
from set_aggregation.aggregators import SAN, Conv1x1, Flatten, GlobalAvgPool
from set_aggregation.pooling import SetPooling

SMALL = {"image_size": (32, 32)}


class Block(nn.Module):
    """Ends in functions, as a residual block does."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, 3, stride=2, padding=1)
        self.shortcut = nn.Conv2d(in_features, out_features, 1, stride=2)

    def forward(self, x):
        return F.relu(self.conv(x) + self.shortcut(x))


class Network(nn.Module):
    """Written as people write networks for CIFAR-10: what comes before the last layer is no module."""

    def __init__(self, tail):
        super().__init__()
        self.features = nn.Sequential(Block(3, 8), Block(8, 16))
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)
        self.tail = tail

    def forward(self, x):
        return self.fc(self.tail(self.features(x), self.norm))


TAILS = {
    "mean of a block": lambda x, norm: x.mean((2, 3)),
    "relu, then pooling": lambda x, norm: F.avg_pool2d(F.relu(norm(x)), 8).flatten(1),
    "relu in place, then pooling": lambda x, norm: F.adaptive_avg_pool2d(F.relu(norm(x), inplace=True), 1).flatten(1),
    "gelu, then pooling": lambda x, norm: F.gelu(norm(x)).mean((2, 3)),
    "silu in place, then pooling": lambda x, norm: F.silu(norm(x), inplace=True).mean((2, 3)),
    "channels last": lambda x, norm: norm(x).permute(0, 2, 3, 1).flatten(1, 2).mean(1),
}


class WithPool(nn.Module):
    """Has its pooling as a module, and a norm behind it."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(Block(3, 8), nn.BatchNorm2d(8))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Flatten(), nn.LayerNorm(8), nn.Dropout(0.5), nn.Linear(8, 10))

    def forward(self, x):
        return self.fc(self.avgpool(self.features(x)))


def randomized(model):
    """No weight or statistic has a value that hides what is done with it."""
    torch.manual_seed(0)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.1, 1)
    return model


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_what_functions_do_before_they_pool_is_done(tail):
    model = randomized(Network(tail)).eval()
    images = torch.randn(2, 3, 32, 32)
    expected, old = model(images), model.fc
    replace_pooling(model, GlobalAvgPool, **SMALL)
    model.fc.classifier.load_state_dict(old.state_dict())
    assert_close(model(images), expected)


def test_a_pooling_module_is_replaced_by_the_aggregator():
    model = WithPool()
    norm = model.fc[1]
    replace_pooling(model, SAN, out_features=32, num_classes=4, **SMALL)
    assert isinstance(model.avgpool, SetPooling)
    assert isinstance(model.avgpool.aggregator, SAN)
    assert model.avgpool.elementwise.layers[0] is norm
    assert (model.fc[3].in_features, model.fc[3].out_features) == (32, 4)
    assert isinstance(model.fc[2], nn.Dropout)


def test_layers_behind_the_pooling_act_on_each_element():
    model = randomized(WithPool()).eval()
    images = torch.randn(2, 3, 32, 32)
    elements = model.fc[1](model.features(images).flatten(2).transpose(1, 2))
    replace_pooling(model, partial(SAN, out_features=32), **SMALL)
    assert_close(model(images), model.fc[3](model.avgpool.aggregator(elements)))


@pytest.mark.parametrize("make", [WithPool, partial(Network, TAILS["mean of a block"])])
def test_copies_have_weights_of_their_own(make):
    model = replace_pooling(make(), SAN, out_features=8, **SMALL).eval()
    images = torch.randn(2, 3, 32, 32)
    before = model(images)
    twin = copy.deepcopy(model)
    assert_close(twin(images), before)
    for weight in twin.parameters():
        nn.init.zeros_(weight)
    assert not twin(images).any()
    assert_close(model(images), before)


def test_a_model_can_be_pickled():
    model = replace_pooling(WithPool(), SAN, out_features=8, **SMALL).eval()
    images = torch.randn(2, 3, 32, 32)
    assert_close(pickle.loads(pickle.dumps(model))(images), model(images))


@pytest.mark.parametrize("make", [WithPool, partial(Network, TAILS["relu, then pooling"])])
def test_a_model_can_be_compiled_and_exported(make, unchecked_shapes):
    model = replace_pooling(make(), SAN, out_features=8, **SMALL).eval()
    images = torch.randn(2, 3, 32, 32)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert_close(compiled(images), model(images))
    assert_close(torch.export.export(model, (images,)).module()(images), model(images))


def test_number_of_classes_stays_unless_told():
    images = torch.randn(2, 3, 32, 32)
    assert replace_pooling(WithPool(), SAN, out_features=8, **SMALL)(images).shape == (2, 10)
    assert replace_pooling(WithPool(), SAN, out_features=8, num_classes=0, **SMALL)(images).shape == (2, 8)


def test_modes_devices_and_precisions_are_those_of_the_model():
    model = WithPool().to(torch.float64).train()
    model.fc[1].eval()
    model.features[1].eval()
    replace_pooling(model, SAN, out_features=8, **SMALL)
    assert {weight.dtype for weight in model.parameters()} == {torch.float64}
    modes = {module: module.training for module in model.modules()}
    assert not modes[model.features[1]]
    assert not modes[model.avgpool.elementwise.layers[0]]
    assert modes[model.avgpool.aggregator.projection]
    assert modes[model.fc[3]]


def test_a_model_in_evaluation_mode_stays_in_it():
    model = replace_pooling(WithPool().eval(), SAN, out_features=8, **SMALL)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("bias", [True, False])
def test_the_last_layer_has_a_bias_where_the_one_before_had(bias):
    model = WithPool()
    model.fc[3] = nn.Linear(8, 10, bias=bias)
    assert (replace_pooling(model, SAN, out_features=12, **SMALL).fc[3].bias is not None) == bias


@pytest.mark.parametrize(("aggregator", "out_features"), [(Flatten, 16 * 16 * 8), (Conv1x1, 16 * 16)])
def test_sizes_of_sets_are_filled_in(aggregator, out_features):
    model = replace_pooling(WithPool(), aggregator, **SMALL)
    assert model.avgpool.aggregator.out_features == out_features
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_elements_have_positions_if_asked_for():
    model = replace_pooling(WithPool(), SAN, out_features=8, positions="linear", **SMALL)
    assert model.avgpool.aggregator.position_features == 2
    assert model(torch.randn(2, 3, 32, 48)).shape == (2, 10)


class TwoPoolings(WithPool):
    """Uses one pooling in two places."""

    def forward(self, x):
        x = self.features(x)
        return self.fc(self.avgpool(x * self.avgpool(x).sigmoid()))


def refused(model, message, **arguments):
    before = copy.deepcopy(model.state_dict())
    printed = repr(model)
    with pytest.raises(ValueError, match=message) as raised:
        replace_pooling(model, **{"aggregator": SAN, "out_features": 8, **SMALL, **arguments})
    assert "\n" not in str(raised.value)
    assert repr(model) == printed
    assert list(model.state_dict()) == list(before)


def test_a_map_changed_by_functions_is_refused():
    tail = lambda x, norm: torch.cat((norm(x)[:, :8], x[:, 8:]), 1).mean((2, 3))  # noqa: E731
    refused(Network(tail), r"got a Network which calls \w+ between norm and its pooling")


def test_a_gated_map_is_refused():
    refused(TwoPoolings(), "got a TwoPoolings which calls mul between features and its pooling")


def test_a_network_without_a_feature_map_is_refused():
    refused(nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.ReLU(), nn.Linear(8, 4)), "neither a feature map")


def test_a_network_without_a_last_layer_is_refused():
    refused(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "which has no last layer")


def test_more_than_classifying_is_refused():
    class Scaled(WithPool):
        def forward(self, x):
            return 2 * super().forward(x)

    refused(Scaled(), "got a Scaled that does more than to pool its features and to classify them")


def test_a_map_of_a_single_pixel_is_refused():
    features = nn.Sequential(*(Block(width, width) for width in (3, 3, 3, 3)))
    model = nn.Sequential(features, nn.Conv2d(3, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    refused(model, "whose feature map has a single pixel for images of 32x32; give a larger image_size")
    replace_pooling(model, SAN, out_features=8, image_size=(64, 64))
    assert isinstance(model[2], SetPooling)


def test_images_that_do_not_fit_are_named():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 30 * 30, 4))
    refused(model, "got a Sequential that cannot be run on images of 40x40", image_size=(40, 40))
    refused(WithPool(), "cannot be run on images of 32x32 .* give the image_size or the in_channels", in_channels=4)


def test_replacing_twice_is_refused():
    refused(replace_pooling(WithPool(), SAN, out_features=8, **SMALL), "whose pooling is replaced already")


def test_an_aggregator_that_is_built_is_refused():
    with pytest.raises(ValueError, match=r"got aggregator=SAN\(...\), which is built already, expected a class"):
        replace_pooling(WithPool(), SAN(8, 16))


def test_dense_layers_that_know_each_pixel_by_its_place_are_dropped():
    dense = nn.Linear(8 * 16, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)
    model = nn.Sequential(Block(3, 8), nn.AdaptiveAvgPool2d(4), nn.Flatten(), *dense)
    replace_pooling(model, SAN, out_features=12, **SMALL)
    assert isinstance(model[1], SetPooling)
    assert [type(layer) for layer in model[3:]] == [nn.Identity, nn.Identity, nn.Identity, nn.Linear]
    assert model.eval()(torch.randn(2, 3, 48, 40)).shape == (2, 10)


class Gated(WithPool):
    """Looks at the whole map before it pools it."""

    def __init__(self):
        super().__init__()
        self.gate = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.features(x)
        return self.fc(self.avgpool(x * self.gate(x).sigmoid()))


def test_the_last_pooling_is_replaced():
    model = randomized(Gated()).eval()
    images = torch.randn(2, 3, 32, 32)
    features = model.features(images)
    elements = model.fc[1]((features * features.mean((2, 3), keepdim=True).sigmoid()).flatten(2).transpose(1, 2))
    replace_pooling(model, SAN, out_features=8, **SMALL)
    assert_close(model(images), model.fc[3](model.avgpool.aggregator(elements)))
