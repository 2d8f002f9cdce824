import copy
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from set_aggregation import replace_pooling
from set_aggregation.aggregators import SAN, Conv1x1, GeM, GlobalAvgPool, GlobalMaxPool
from set_aggregation.pooling import Pool

SMALL = {"image_size": 16}


def mean(net, x):
    return x.mean((2, 3))


class Network(nn.Module):
    """Pools in its forward method, by any function of the network and its feature map."""

    def __init__(self, pool=mean):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1))
        self.norm = nn.BatchNorm2d(16)
        self.hidden = nn.Linear(16, 16)
        self.fc = nn.Linear(16, 10)
        self.pool = pool

    def forward(self, x):
        return self.fc(self.pool(self, self.features(x)))


class WithModule(nn.Module):
    """Pools by a module, with a norm behind it; one ReLU object is used in two places."""

    def __init__(self, pool=None):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.avgpool = pool or nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.LayerNorm(8), self.relu, nn.Dropout(0.5), nn.Linear(8, 10))

    def forward(self, x):
        return self.head(self.avgpool(self.relu(self.conv(x))))


class MeanAndMeta(Network):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(20, 10)

    def forward(self, x, meta):
        return self.fc(torch.cat((self.features(x).mean((2, 3)), meta), 1))


class TwoHeads(Network):
    def forward(self, x):
        pooled = self.features(x).mean((2, 3))
        return {"logits": self.fc(pooled), "embedding": self.hidden(pooled)}


class VisionTransformer(nn.Module):
    """With a class token of no telling name, and the images' own shape of the grid of patches."""

    def __init__(self, pool="token"):
        super().__init__()
        self.patches, self.extra, self.pool = nn.Conv2d(3, 16, 4, stride=4), nn.Parameter(torch.zeros(1, 1, 16)), pool
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.block(torch.cat((self.extra.expand(len(x), -1, -1), x), 1))
        return self.fc(x[:, 0] if self.pool == "token" else x[:, 1:].mean(1))


class MaskedText(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.fc = nn.Embedding(50, 16), nn.Linear(16, 10)

    def forward(self, ids, mask):
        x = self.embedding(ids)
        weights = mask.unsqueeze(-1).to(x.dtype)
        return self.fc((x * weights).sum(1) / weights.sum(1))


def same_after_loading(make, aggregator, inputs, **arguments):
    """The model with its old weights and with a pooling like its own gives its old output."""
    torch.manual_seed(0)
    model = make().eval()
    expected, state = model(*inputs), model.state_dict()
    replace_pooling(model, aggregator, **{"example_inputs": tuple(inputs), **arguments})
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not [name for name in missing if "aggregator" not in name], missing
    assert not unexpected
    assert_close(model(*inputs), expected)


AVERAGES = {
    "mean": lambda net, x: x.mean((2, 3)),
    "one axis after the other": lambda net, x: x.mean(3).mean(2),
    "sum": lambda net, x: x.sum((2, 3)) / (x.shape[2] * x.shape[3]),
    "avg_pool2d of the whole map": lambda net, x: F.avg_pool2d(x, x.shape[2:]).flatten(1),
    "relu in place before": lambda net, x: F.adaptive_avg_pool2d(F.relu(net.norm(x), inplace=True), 1).flatten(1),
    "as tokens": lambda net, x: x.flatten(2).transpose(1, 2).mean(1),
    "layers behind": lambda net, x: F.relu(net.hidden(x.mean((2, 3)))),
    "a gate by the same map": lambda net, x: (x * x.mean((2, 3), keepdim=True).sigmoid()).mean((2, 3)),
}


@pytest.mark.parametrize("pool", AVERAGES.values(), ids=AVERAGES)
def test_a_function_that_averages_is_replaced(pool):
    same_after_loading(partial(Network, pool), GlobalAvgPool, torch.randn(1, 2, 3, 20, 16))


def test_a_maximum_is_replaced():
    same_after_loading(
        partial(Network, lambda net, x: torch.max(x.flatten(2), 2)[0]), GlobalMaxPool, torch.randn(1, 2, 3, 16, 16)
    )


def test_a_module_is_replaced_and_shared_modules_stay():
    same_after_loading(WithModule, GlobalAvgPool, torch.randn(1, 2, 3, 16, 16))
    model = replace_pooling(WithModule(), SAN, out_features=12, **SMALL)
    assert isinstance(model.avgpool.pooling.aggregator, SAN)
    assert model.avgpool.projection.out_features == 8
    assert model.relu is model.head[2]
    assert isinstance(model.relu, nn.ReLU)


def test_other_inputs_still_count():
    images, meta = torch.randn(2, 3, 16, 16), torch.randn(2, 4)
    same_after_loading(MeanAndMeta, GlobalAvgPool, (images, meta))
    model = replace_pooling(MeanAndMeta(), SAN, out_features=12, example_inputs=(images, meta)).eval()
    assert not torch.allclose(model(images, meta), model(images, meta + 1))


def test_one_pooling_object_in_two_places_is_replaced_at_the_end():
    class Gated(WithModule):
        def forward(self, x):
            x = self.conv(x)
            return self.head(self.avgpool(x * self.avgpool(x).sigmoid()))

    same_after_loading(Gated, GlobalAvgPool, torch.randn(1, 2, 3, 16, 16))


def test_one_pooling_object_with_two_names_is_replaced():
    class Named(WithModule):
        def __init__(self):
            super().__init__()
            self.unused, self.avgpool = self.avgpool, nn.Identity()
            self.last = self.unused

        def forward(self, x):
            return self.head(self.last(self.conv(x)))

    model = replace_pooling(Named(), SAN, out_features=12, **SMALL)
    assert model.last is model.unused
    assert isinstance(model.last.pooling, Pool)


def test_layers_between_act_on_vectors():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 16, 16)
    model = replace_pooling(WithModule(), SAN, out_features=12, **SMALL).eval()
    elements = model.conv(images).relu().flatten(2).transpose(1, 2)
    san, projection = model.avgpool.pooling.aggregator, model.avgpool.projection
    assert_close(model(images), model.head(projection(san(elements) / 49)))


def test_a_vector_that_fits_needs_no_new_layer():
    model = WithModule()
    last = model.head[-1]
    replace_pooling(model, GeM, **SMALL)
    assert isinstance(model.avgpool.projection, nn.Identity)
    assert model.head[-1] is last


def test_class_tokens_are_found_by_what_they_do_and_left_out():
    images = torch.randn(2, 3, 16, 16)
    model = replace_pooling(VisionTransformer(), SAN, out_features=12, example_inputs=images)
    sets = []
    model.set_pooling.pooling.aggregator.register_forward_pre_hook(lambda module, args: sets.append(args[0].shape[1]))
    model(images)
    assert sets == [16]
    same_after_loading(partial(VisionTransformer, "mean"), GlobalAvgPool, [images])


def test_layers_for_the_class_token_only_are_refused():
    class WithTokenMLP(VisionTransformer):
        def __init__(self):
            super().__init__()
            self.token_mlp = nn.Linear(16, 16)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = self.block(torch.cat((self.extra.expand(len(x), -1, -1), x), 1))
            return self.fc(torch.cat((self.token_mlp(x[:, :1]), x[:, 1:]), 1)[:, 0])

    refused(WithTokenMLP(), "layers that only its class token uses .token_mlp")


def test_positions_of_tokens_of_images_of_any_shape_are_refused():
    refused(VisionTransformer("mean"), "images of any shape.*positions='none'", positions="linear")


def test_positions_of_tokens_follow_a_fixed_grid():
    class Fixed(VisionTransformer):
        def forward(self, x):
            if tuple(x.shape[2:]) != (32, 8):
                raise ValueError("another size")
            return super().forward(x)

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = VisionTransformer("mean")

        def forward(self, x):
            assert x.shape[2:] == (32, 8)
            return self.net(x)

    model = replace_pooling(Inner(), SAN, out_features=12, positions="linear", image_size=(32, 8))
    assert model.net.set_pooling.pooling.grid == (8, 2)


def test_the_mask_reaches_the_aggregator():
    ids, mask = torch.randint(0, 50, (2, 6)), torch.ones(2, 6, dtype=torch.long)
    model = replace_pooling(MaskedText(), SAN, out_features=12, example_inputs={"ids": ids, "mask": mask}).eval()
    mask[0, 4:] = 0
    other = ids.clone()
    other[0, 4:] = 7
    masks = []
    (pool,) = (module for module in model.modules() if isinstance(module, Pool))
    pool.aggregator.register_forward_pre_hook(lambda module, args: masks.append(args[1]))
    assert_close(model(ids, mask), model(other, mask))
    assert torch.equal(masks[0], mask == 1)
    assert not torch.allclose(model(ids, mask), model(ids, torch.ones_like(mask)))


@pytest.mark.parametrize("axes", [1, 3])
def test_maps_with_other_numbers_of_axes(axes):
    conv, pool = ((nn.Conv1d, nn.AdaptiveMaxPool1d), None, (nn.Conv3d, nn.AdaptiveMaxPool3d))[axes - 1]
    layers = partial(lambda: nn.Sequential(conv(3, 8, 3), pool(1), nn.Flatten(), nn.Linear(8, 10)))
    x = torch.randn(2, 3, *[8] * axes)
    same_after_loading(layers, GlobalMaxPool, [x])
    model = replace_pooling(layers(), SAN, out_features=12, positions="linear", example_inputs=x)
    assert model[1].pooling.aggregator.position_features == axes


def test_all_outputs_stay():
    images = torch.randn(2, 3, 16, 16)
    model = replace_pooling(TwoHeads(), SAN, out_features=12, num_classes=4, **SMALL)
    assert {name: value.shape[1] for name, value in model(images).items()} == {"logits": 4, "embedding": 16}


@pytest.mark.slow
@pytest.mark.parametrize("make", [WithModule, Network])
def test_copies_and_pickles_and_exports_compute_the_same(make, unchecked_shapes):
    images = torch.randn(2, 3, 16, 16)
    model = replace_pooling(make(), SAN, out_features=12, **SMALL).eval()
    expected = model(images)
    twin = copy.deepcopy(model)
    for weight in model.parameters():
        nn.init.zeros_(weight)
    assert_close(twin(images), expected)
    assert_close(pickle.loads(pickle.dumps(twin))(images), expected)
    assert_close(torch.compile(twin, backend="eager", fullgraph=True)(images), expected)
    assert_close(torch.export.export(twin, (images,)).module()(images), expected)


def test_dropout_by_a_function_stays_in_training():
    model = Network(lambda net, x: F.dropout(x.mean((2, 3)), 0.5, net.training))
    replace_pooling(model, SAN, out_features=12, **SMALL)
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(model.train()(images), model(images))
    assert torch.equal(model.eval()(images), model(images))


class Together(nn.Module):
    def forward(self, x):
        return F.dropout(x.mean((2, 3)), 0.5, self.training)


@pytest.mark.parametrize(
    "more",
    [
        [nn.Dropout(0.5)],
        [nn.ReLU()],
        [nn.BatchNorm1d(8, affine=False)],
        [nn.Identity(), nn.Sequential(nn.Dropout(0.5))],
    ],
)
def test_layers_beside_the_pooling_in_one_module_stay(more):
    model = WithModule(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *more))
    replace_pooling(model, SAN, out_features=12, **SMALL)
    assert isinstance(model.avgpool[0].pooling, Pool)
    assert list(model.avgpool)[2:] == more


def test_dropout_in_a_pooling_module_stays_in_training():
    model = WithModule(nn.Sequential(Together()))
    model.head[3] = nn.Identity()
    replace_pooling(model, SAN, out_features=12, **SMALL)
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(model.train()(images), model(images))
    assert torch.equal(model.eval()(images), model(images))


def test_buffers_between_act_on_vectors_of_their_size():
    model = Network(lambda net, x: x.mean((2, 3)) * net.gate)
    model.register_buffer("gate", torch.ones(16))
    replace_pooling(model, SAN, out_features=12, **SMALL)
    assert model.set_pooling.projection.out_features == 16
    assert torch.equal(model.gate, torch.ones(16))


def test_a_network_that_caches_in_evaluation_is_left_without_noise():
    class Caching(Network):
        def __init__(self):
            super().__init__()
            self.scale, self.cache = nn.Parameter(torch.zeros(1)), {}

        def forward(self, x):
            if "scale" not in self.cache:
                self.cache["scale"] = 1 + self.scale
            return super().forward(x) * self.cache["scale"]

    model = Caching().eval()
    replace_pooling(model, SAN, out_features=12, **SMALL)
    assert not model.cache
    images = torch.randn(2, 3, 16, 16)
    expected = model(images)
    nn.init.constant_(model.scale, 1)
    assert_close(model(images), 2 * expected)


def test_a_model_that_cannot_be_copied_is_taken():
    model = WithModule()
    model.kept = model.conv(torch.randn(1, 3, 8, 8))  # a non-leaf tensor
    replace_pooling(model, SAN, out_features=12, **SMALL)
    assert model.kept.requires_grad


@pytest.mark.parametrize(("num_classes", "expected"), [(None, 10), (4, 4), (0, 8)])
def test_number_of_classes(num_classes, expected):
    model = replace_pooling(WithModule(), SAN, out_features=12, num_classes=num_classes, **SMALL)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, expected)


def test_modes_and_precisions_are_those_of_the_model():
    model = WithModule().double().train()
    model.head[1].eval()
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    replace_pooling(model, SAN, out_features=12, **SMALL)
    assert {weight.dtype for weight in model.parameters()} == {torch.float64}
    assert model.avgpool.pooling.aggregator.training
    assert not model.head[1].training
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in weights.items())
    assert all(weight.grad is None for weight in model.parameters())


def test_sizes_of_sets_are_filled_in():
    model = replace_pooling(WithModule(), Conv1x1, **SMALL)
    assert model.avgpool.pooling.aggregator.set_size == 49


@pytest.mark.parametrize("make", [Network, WithModule])
def test_a_sum_trains_like_a_mean(make):
    images, models = torch.randn(2, 3, 16, 16), []
    for reduction in ("sum", "mean"):
        torch.manual_seed(0)
        models.append(replace_pooling(make().eval(), SAN, out_features=12, reduction=reduction, **SMALL))
        models[-1](images).square().sum().backward()
    assert_close(models[0](images), models[1](images))
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert_close(a.grad, b.grad)
    larger = torch.randn(2, 3, 32, 32)  # the scale does not change, so that the size of a set still counts
    assert not torch.allclose(models[0](larger), models[1](larger))
    models[0].half()
    models[0].load_state_dict(models[0].state_dict())


def test_a_saved_state_is_loaded_after_replacing():
    images = torch.randn(2, 3, 16, 16)
    model = replace_pooling(Network(), SAN, out_features=12, **SMALL).eval()
    twin = replace_pooling(Network(), SAN, out_features=12, **SMALL).eval()
    twin.load_state_dict(model.state_dict(), strict=True)
    assert_close(twin(images), model(images))


def test_all_but_the_new_layers_can_be_frozen():
    model = Network().requires_grad_(False)
    replace_pooling(model, SAN, out_features=12, num_classes=4, **SMALL)
    assert {name.rpartition(".")[0] for name, weight in model.named_parameters() if weight.requires_grad} == {
        "set_pooling.pooling.aggregator.projection",
        "fc",
    }


def refused(model, message, **arguments):
    state, printed, cls = copy.copy(model.state_dict()), repr(model), type(model)
    with pytest.raises(ValueError, match=message) as raised:
        replace_pooling(model, **{"aggregator": SAN, "out_features": 8, **SMALL, **arguments})
    assert "\n" not in str(raised.value)
    assert (repr(model), type(model)) == (printed, cls)
    assert list(model.state_dict()) == list(state)


class Branching(Network):
    def forward(self, x):
        x = self.features(x)
        return self.fc(x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3)))


class RowsThenColumns(nn.Module):
    def forward(self, x):
        return F.relu(x.mean(3)).mean(2)


REFUSED = {
    "two poolings": (partial(Network, lambda net, x: x.mean((2, 3)) + x.amax((2, 3))), "uses more of its features"),
    "a window that is all of a small map only": (
        partial(Network, lambda net, x: F.avg_pool2d(x, 7)[:, :, 0, 0]),
        "gives other outputs on",
    ),
    "dropout within the pooling": (
        partial(Network, lambda net, x: F.dropout(x.mean(3), 0.5, net.training).mean(2)),
        "without a global average",
    ),
    "a ReLU within the pooling": (lambda: WithModule(RowsThenColumns()), "RowsThenColumns"),
    "several devices": (lambda: nn.DataParallel(WithModule()), "several devices; replace the pooling of that model"),
    "a sum": (partial(Network, lambda net, x: x.sum((2, 3))), "without a global average"),
    "control flow": (Branching, "torch.fx cannot trace, forward of the model"),
    "a learned pooling": (
        lambda: WithModule(nn.Sequential(nn.Flatten(), nn.Linear(8 * 49, 8))),
        "neither average nor max pooling",
    ),
    "no map": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.Linear(8, 4)), "pools by Flatten"),
    "several outputs of one input": (
        partial(Network, lambda net, x: x.mean((2, 3)) * torch.rand(()).to(x)),
        "torch.fx|other outputs",
    ),
    "TorchScript": (lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3))), "TorchScript"),
    "no values": (lambda: Network().to("meta"), "on the meta device"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_proven_is_refused_in_one_line(make, message):
    refused(make(), message)


@pytest.mark.slow
def test_compiled_models_are_refused():
    refused(torch.compile(WithModule()), "compiled; .* then compile it")
    refused(nn.Sequential(torch.compile(WithModule())), "partly compiled")


def test_inputs_that_do_not_fit_are_named():
    refused(WithModule(), r"cannot be run on inputs of 2x4x16x16 .* example_inputs", in_channels=4)


def test_replacing_twice_is_refused():
    refused(replace_pooling(WithModule(), SAN, out_features=8, **SMALL), "already replaced")


@pytest.mark.parametrize("aggregator", [SAN(8, 16), "SAN"])
def test_an_aggregator_that_is_no_class_is_refused(aggregator, unchecked_shapes):
    with pytest.raises(ValueError, match="expected a class such as SAN"):
        replace_pooling(WithModule(), aggregator)
