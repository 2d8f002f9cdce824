"""Contract suite: the properties of every exported aggregator."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jaxtyping
import pytest
import torch
import yaml
from torch import nn
from torch.testing import assert_close
from torchvision.models.feature_extraction import create_feature_extractor

from set_aggregation import aggregators
from set_aggregation.aggregators import (
    PMA,
    SAN,
    Aggregator,
    AttentionPool,
    AvgMaxPool,
    Concat,
    Conv1x1,
    CovariancePool,
    DeepSets,
    Flatten,
    FSPool,
    GatedAttentionPool,
    GeM,
    GlobalAvgPool,
    GlobalMaxPool,
    LogSumExp,
    MeanStdPool,
    PowerMeanSAN,
    Quantile,
    SetReduction,
    SetTransformer,
    SimPool,
    StdPool,
)
from set_aggregation.aggregators.sets import RaggedSets

B, N, D, P, M = 3, 5, 4, 2, 6
CONFIGS = Path(__file__).parents[2] / "configs" / "aggregator"


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], Aggregator]
    positions: Literal["none", "shared", "per set"] = "none"
    roundings: int = 1  # how often what the output is made of is rounded to the dtype, one after the other
    is_variant: bool = False  # all of its code runs in another case, too: tested at night

    def layer(self) -> Aggregator:
        torch.manual_seed(0)
        layer = self.build().double()
        with torch.no_grad():  # some begin as another layer: away from it
            for parameter in layer.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return layer

    def sets(self, num_sets: int = B, num_elements: int = N):
        """Elements, mask and positions; every row of the mask has real elements and padding, at other places."""
        torch.manual_seed(1)
        x = torch.randn(num_sets, num_elements, D, dtype=torch.float64)
        mask = (torch.arange(num_sets)[:, None] + torch.arange(num_elements)) % 3 > 0
        positions = torch.randn(num_sets, num_elements, P, dtype=torch.float64)
        return x, mask, {"none": None, "shared": positions[0], "per set": positions}[self.positions]


class RoundedGELU(nn.GELU):
    """GELU rounded once: torch's own is up to 4 units of the last place off in float32, more than a layer may be."""

    def forward(self, x):
        return super().forward(x.double()).to(x.dtype)


CASES = [
    Case("SAN", partial(SAN, D, M), is_variant=True),
    Case("SAN mean", partial(SAN, D, M, reduction="mean"), is_variant=True),
    Case("SAN GELU", partial(SAN, D, M, activation=RoundedGELU()), is_variant=True),
    Case("SAN positions", partial(SAN, D, M, position_features=P), positions="shared"),
    Case("SAN positions per set", partial(SAN, D, M, "mean", position_features=P), positions="per set"),
    Case("PowerMeanSAN", partial(PowerMeanSAN, D, M), is_variant=True),
    Case("PowerMeanSAN learned p", partial(PowerMeanSAN, D, M, learn_p=True, position_features=P), positions="shared"),
    Case("PowerMeanSAN p=1 sum", partial(PowerMeanSAN, D, M, p=1.0, reduction="sum"), is_variant=True),
    Case("PowerMeanSAN exp", partial(PowerMeanSAN, D, M, learn_p=True, transform="exp")),
    Case("GlobalAvgPool", partial(GlobalAvgPool, D)),
    Case("GlobalMaxPool", partial(GlobalMaxPool, D)),
    Case("DeepSets", partial(DeepSets, D, M), roundings=4, is_variant=True),
    Case("DeepSets mean positions", partial(DeepSets, D, M, None, "mean", P), positions="per set", roundings=4),
    Case("GeM", partial(GeM, D)),
    Case("GeM per channel", partial(GeM, D, 1.5, per_channel=True), is_variant=True),
    Case("LogSumExp", partial(LogSumExp, D)),
    Case("AvgMaxPool", partial(AvgMaxPool, D), is_variant=True),
    Case("MeanStdPool", partial(MeanStdPool, D)),
    Case("StdPool", partial(StdPool, D), is_variant=True),
    Case("Quantile", partial(Quantile, D, 0.3), roundings=2),
    Case("Concat", partial(Concat, D, [GlobalMaxPool, partial(SAN, out_features=M)], P), positions="per set"),
    Case("Concat of sets of one size", partial(Concat, D, [Flatten, GlobalAvgPool], set_size=N)),
    Case("AttentionPool", partial(AttentionPool, D)),
    Case("GatedAttentionPool", partial(GatedAttentionPool, D, 8), roundings=4),
    Case("SimPool", partial(SimPool, D), roundings=16),
    Case("SetTransformer", partial(SetTransformer, D, num_heads=2), roundings=32),
    Case("PMA", partial(PMA, D, num_heads=2), roundings=10),
    Case("PMA 3 queries", partial(PMA, D, num_queries=3, num_heads=1), roundings=10, is_variant=True),
    Case("CovariancePool", partial(CovariancePool, D)),
    Case("FSPool", partial(FSPool, D, num_pieces=3)),
    Case("Conv1x1", partial(Conv1x1, D, set_size=N)),
    Case("Conv1x1 32 channels", partial(Conv1x1, D, channels=32, set_size=N), is_variant=True),
    Case("Flatten", partial(Flatten, D, set_size=N)),
]
EXPORTED = {getattr(aggregators, name) for name in aggregators.__all__} - {Aggregator, SetReduction}


def those(promise: Callable[[Aggregator], bool]) -> list[Case]:
    return [case for case in CASES if promise(case.build())]


def parametrize(cases: list[Case]) -> pytest.MarkDecorator:
    at_night = [pytest.mark.nightly]
    cases = [pytest.param(case, id=case.name, marks=at_night if case.is_variant else []) for case in cases]
    return pytest.mark.parametrize("case", cases)


def few_at_night_all(*names: str, of: Sequence[str] = tuple(case.name for case in CASES)) -> pytest.MarkDecorator:
    assert set(names) <= set(of)
    marks = {name: [pytest.mark.slow] if name in names else [pytest.mark.slow, pytest.mark.nightly] for name in of}
    cases = [pytest.param(case, id=case.name, marks=marks[case.name]) for case in CASES if case.name in of]
    return pytest.mark.parametrize("case", cases)


every_case = parametrize(CASES)
of_any_size = parametrize(those(lambda layer: layer.any_set_size))
of_fixed_size = parametrize(those(lambda layer: hasattr(layer, "set_size")))
one_of_each_form = parametrize([case for case in CASES if case.name in ("SAN positions", "SetTransformer", "Flatten")])
# Ragged sets of the others are padded, or reduced as in one of these.
AS_RAGGED = ("SAN positions per set", "GlobalMaxPool", "GeM", "LogSumExp", "MeanStdPool", "SimPool", "PMA")
padded_and_ragged = pytest.mark.parametrize(
    ("case", "is_ragged"),
    [
        pytest.param(
            case,
            is_ragged,
            id=f"{case.name}-{'ragged' if is_ragged else 'padded'}",
            marks=[pytest.mark.nightly] if case.is_variant or (is_ragged and case.name not in AS_RAGGED) else [],
        )
        for case in CASES
        for is_ragged in (False, True)
    ],
)


def gradients(layer, x, mask, positions, call=None):
    """Output, gradient of the elements, gradient of the positions, gradients of the parameters."""
    layer.zero_grad()
    x = x.detach().clone().requires_grad_()
    positions = None if positions is None else positions.detach().clone().requires_grad_()
    output = (call or layer)(x, mask, positions)
    output.square().sum().backward()
    return output.detach(), x.grad, None if positions is None else positions.grad, [p.grad for p in layer.parameters()]


def of_set(positions, i):
    return positions if positions is None or positions.ndim == 2 else positions[i]


def test_every_exported_aggregator_has_a_case():
    assert {type(case.build()) for case in CASES} == EXPORTED


def test_every_aggregator_that_uses_positions_has_a_case_with_positions():
    assert {type(case.build()) for case in CASES if case.positions != "none"} == {
        aggregator
        for aggregator in EXPORTED
        if aggregator.uses_positions and aggregator not in (AvgMaxPool, MeanStdPool)
    }


def test_every_exported_aggregator_has_a_config():
    class_paths = [yaml.safe_load(path.read_text())["class_path"] for path in CONFIGS.rglob("*.yaml")]
    assert {cls.__name__ for cls in EXPORTED} <= {class_path.rpartition(".")[2] for class_path in class_paths}


def test_shape_annotations_are_checked_in_tests():
    x, mask, _ = CASES[0].sets()
    with pytest.raises(jaxtyping.TypeCheckError, match="mask"):
        CASES[0].layer()(x, mask[:, 1:])


@every_case
def test_output_has_out_features(case):
    layer = case.layer()
    assert layer(*case.sets()).shape == (B, layer.out_features)


@every_case
def test_order_of_elements_matters_as_declared(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    order = [2, 0, 4, 1, 3]
    permuted = layer(x[:, order], mask[:, order], None if positions is None else positions[..., order, :])
    if layer.permutation_invariant:
        assert_close(permuted, layer(x, mask, positions))
    else:
        assert not torch.allclose(permuted, layer(x, mask, positions))


@of_any_size
def test_mask_is_dropping_the_masked_elements(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    output = layer(x, mask, positions)
    for i in range(B):
        kept = None if positions is None else of_set(positions, i)[mask[i]]
        assert_close(layer(x[i : i + 1, mask[i]], None, kept), output[i : i + 1])


@of_fixed_size
def test_masked_elements_are_zeros_at_their_places(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    masked = layer(x, mask, positions).view(B, N, -1)
    assert torch.equal(masked, layer(x, None, positions).view(B, N, -1).where(mask[..., None], 0))


@of_fixed_size
@pytest.mark.parametrize("other", [N - 1, N + 1])
def test_sets_of_another_size_are_refused_by_name(case, other):
    layer = case.layer()
    x, _, positions = case.sets(num_elements=other)
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: got sets of {other} elements.* built for {N};"):
        layer(x, None, positions)


@every_case
def test_full_mask_is_no_mask(case):
    x, _, positions = case.sets()
    full = torch.ones(B, N, dtype=torch.bool)
    assert_close(case.layer()(x, full, positions), case.layer()(x, None, positions))


@every_case
def test_nan_in_padding_leaks_nowhere(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    clean = gradients(layer, x, mask, positions)
    x = x.masked_fill(~mask[..., None], torch.nan)
    if case.positions == "per set":
        positions = positions.masked_fill(~mask[..., None], torch.nan)
    dirty = gradients(layer, x, mask, positions)
    assert_close(dirty, clean, rtol=0, atol=0)


def pooled(layer, x, mask, positions, is_ragged):
    return ragged(layer, "offsets")(x, mask, positions) if is_ragged else layer(x, mask, positions)


@padded_and_ragged
def test_nan_in_a_real_element_is_in_all_outputs_of_its_set(case, is_ragged):
    layer = case.layer()
    x, mask, positions = case.sets()
    if not layer.any_set_size:
        mask[:] = True
    x[0, 2] = torch.nan
    output = pooled(layer, x, mask, positions, is_ragged)
    assert output[0].isnan().all() if layer.permutation_invariant else output[0].isnan().any()
    assert output[1:].isfinite().all()


@padded_and_ragged
def test_infinity_in_a_real_element_shows_in_the_output(case, is_ragged):
    if case.name == "Quantile":
        pytest.skip("a quantile is robust: torch.quantile ignores it")
    layer = case.layer()
    x, mask, positions = case.sets()
    if not layer.any_set_size:
        mask[:] = True
    x[0, 2] = torch.inf
    output = pooled(layer, x, mask, positions, is_ragged)
    assert not output[0].isfinite().all()
    assert output[1:].isfinite().all()


@one_of_each_form
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32], ids=str)
def test_masks_of_zeros_and_ones_are_taken_as_bool(case, dtype):
    layer = case.layer()
    x, mask, positions = case.sets()
    assert torch.equal(layer(x, mask.to(dtype), positions), layer(x, mask, positions))


@one_of_each_form
@pytest.mark.parametrize("value", [2, -1e4, 0.5, torch.nan])
def test_masks_of_other_values_are_refused(case, value):
    layer = case.layer()
    x, mask, positions = case.sets()
    mask = mask.float()
    mask[0, 0] = value
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: got a mask of torch.float32 .* 0 and 1"):
        layer(x, mask, positions)


@every_case
def test_gradient_of_padding_is_zero(case):
    x, mask, positions = case.sets()
    _, x_grad, positions_grad, _ = gradients(case.layer(), x, mask, positions)
    assert (x_grad[~mask] == 0).all()
    if case.positions == "per set":
        assert (positions_grad[~mask] == 0).all()


@every_case
def test_sets_of_a_batch_are_independent(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    output = layer(x, mask, positions)
    for i in range(B):
        assert_close(layer(x[i : i + 1], mask[i : i + 1], of_set(positions, i)), output[i : i + 1])


@parametrize([case for case in those(lambda layer: layer.uses_positions) if case.positions != "none"])
def test_positions_matter_where_declared(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    assert not torch.allclose(layer(x, mask, positions + 1), layer(x, mask, positions))


@parametrize(those(lambda layer: not layer.uses_positions))
def test_positions_are_ignored_where_declared(case):
    layer = case.layer()
    x, mask, _ = case.sets()
    assert torch.equal(layer(x, mask, torch.randn(N, P)), layer(x, mask))


@every_case
def test_empty_set_in_a_batch_gives_zeros(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    before = layer(x, mask, positions)
    mask[0] = False
    output, x_grad, _, parameter_grads = gradients(layer, x, mask, positions)
    assert (output[0] == 0).all()
    assert_close(output[1:], before[1:])
    assert all(grad.isfinite().all() for grad in (x_grad, *parameter_grads))


@of_any_size
@pytest.mark.parametrize("masked", [False, True])
def test_sets_without_elements_give_zeros(case, masked):
    layer = case.layer()
    x, mask, positions = case.sets(num_elements=0)
    output, _, _, parameter_grads = gradients(layer, x, mask if masked else None, positions)
    assert torch.equal(output, torch.zeros(B, layer.out_features, dtype=torch.float64))
    assert all(grad.isfinite().all() for grad in parameter_grads)


@every_case
def test_gradients_are_those_of_finite_differences(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    parameters = dict(layer.named_parameters())
    sizes = [parameter.numel() for parameter in parameters.values()]

    def forward(x, positions, flat):  # each input of gradcheck takes its time, so that all parameters are one
        values = zip(parameters.items(), flat.split(sizes), strict=True)
        values = {name: value.view_as(parameter) for (name, parameter), value in values}
        return torch.func.functional_call(layer, values, (x, mask, positions))

    flat = torch.cat([torch.zeros(0).double(), *(parameter.flatten() for parameter in parameters.values())])
    inputs = [None if t is None else t.detach().requires_grad_() for t in (x, positions, flat)]
    assert torch.autograd.gradcheck(forward, inputs, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(forward, inputs, fast_mode=True)


@padded_and_ragged
def test_second_derivatives_are_finite_where_features_are_zero(case, is_ragged):
    layer = case.layer()
    x, mask, positions = case.sets()
    if not layer.any_set_size:
        mask[:] = True
    x = x.relu()
    x[0, :, 0] = 0
    x[1] = 0
    x.requires_grad_()
    inputs = [x, *layer.parameters()]
    output = pooled(layer, x, mask, positions, is_ragged)
    first = torch.autograd.grad(output.square().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(grad.square().sum() for grad in first), inputs, allow_unused=True)
    assert all(grad.isfinite().all() for grad in (*first, *second) if grad is not None)


@every_case
def test_a_model_made_on_the_meta_device_starts_afresh(case):
    with torch.device("meta"):
        layer = case.build()
    layer.to_empty(device="cpu")
    for parameter in layer.parameters():
        nn.init.constant_(parameter, torch.nan)
    for module in layer.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert all(parameter.isfinite().all() for parameter in layer.parameters())
    x, mask, positions = case.sets()
    assert layer.double()(x, mask, positions).isfinite().all()


@every_case
def test_reset_parameters_leaves_children_alone(case):
    layer = case.build()
    if not hasattr(layer, "reset_parameters"):
        pytest.skip("no parameters of its own")
    children = [parameter for child in layer.children() for parameter in child.parameters()]
    for parameter in children:
        nn.init.constant_(parameter, torch.nan)
    layer.reset_parameters()
    assert all(parameter.isnan().all() for parameter in children)


@of_any_size
def test_under_autocast_sums_are_in_float32(case):
    """The sum of a large set exceeds float16, and its elements do not."""
    num = 100_000 if isinstance(case.build(), SAN) else 2000
    layer = case.layer().float()
    _, _, positions = case.sets(num_elements=num)
    torch.manual_seed(1)
    x = (10 * torch.rand(2, num, D)).half()
    positions = None if positions is None else positions[..., :num, :][: 2 if positions.ndim == 3 else None].float()
    if isinstance(layer, SetTransformer):
        x = x[:, :200]  # the square of N attention weights
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        output = layer(x, None, positions)
    exact = layer(x.float(), None, positions).detach()
    assert output.isfinite().all()
    assert_close(output.float(), exact, rtol=0.02, atol=0.02 * exact.abs().max().item())
    if not isinstance(layer, GlobalMaxPool):
        assert output.dtype == torch.float32


class Network(nn.Module):
    """A model in which a layer is called as users call it."""

    def __init__(self, layer, positions):
        super().__init__()
        self.stem = nn.Linear(D, D).double()
        self.pool = layer
        self.head = nn.Linear(layer.out_features, 2).double()
        self.positions = positions

    def forward(self, x):
        return self.head(self.pool(self.stem(x), positions=self.positions))


@parametrize([case for case in CASES if case.name in ("SAN positions", "GatedAttentionPool", "Flatten")])
def test_torch_fx_traces_modules_that_contain_it(case, unchecked_shapes):
    x, _, positions = case.sets()
    network = Network(case.layer(), positions)
    traced = torch.fx.symbolic_trace(network)
    assert torch.equal(traced(x), network(x))
    assert "pool" in [node.target for node in traced.graph.nodes]


@parametrize([case for case in CASES if case.name == "SAN positions"])
def test_torchvision_extracts_its_output(case, unchecked_shapes):
    x, _, positions = case.sets()
    network = Network(case.layer(), positions)
    extractor = create_feature_extractor(network, ["pool"])
    assert torch.equal(extractor(x)["pool"], network.pool(network.stem(x), positions=positions))


def test_torch_fx_refuses_to_trace_a_layer_alone(unchecked_shapes):
    with pytest.raises(ValueError, match=r"SAN: torch.fx cannot trace .* trace a module that contains it"):
        torch.fx.symbolic_trace(SAN(D, M))


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtype_is_kept_and_near_float64(case, dtype):
    layer = case.layer().to(dtype)
    x, mask, positions = case.sets()
    x, positions = x.to(dtype), None if positions is None else positions.to(dtype)
    output = layer(x, mask, positions)
    exact = layer.double()(x.double(), mask, None if positions is None else positions.double())
    eps = case.roundings * torch.finfo(dtype).eps  # elements are near 1, so sums may lose a few units of the last place
    assert_close(output, exact.to(dtype), rtol=eps, atol=eps)


@of_any_size
@pytest.mark.parametrize("distance", [-1e3, 1e3])
def test_gradients_are_finite_where_padding_lies_far_from_all_elements(case, distance):
    x, mask, positions = case.sets()
    _, x_grad, _, parameter_grads = gradients(case.layer(), x + distance, mask, positions)
    assert all(grad.isfinite().all() for grad in (x_grad, *parameter_grads))


def ragged(layer, form):
    """The same as a call of the layer, but for the form in which it gets its sets."""

    def call(x, mask, positions):
        values, index = x[mask], mask.nonzero()[:, 0]
        places = None if positions is None else positions.expand(len(x), -1, -1)[mask]
        offsets = torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))
        match form:
            case "offsets":
                return layer.ragged(values, offsets, positions=places)
            case "index":
                return layer.ragged(values, index=index, num_sets=len(x), positions=places)
            case "index in disorder":  # one element of each set in turn, so that those of a set keep their order
                order = (mask.flatten().cumsum(0) - 1).view(mask.shape).T[mask.T]
                places = None if places is None else places[order]
                return layer.ragged(values[order], index=index[order], num_sets=len(x), positions=places)
        return layer.ragged(torch.nested.nested_tensor_from_jagged(values, offsets), positions=places)

    return call


IN_EVERY_FORM = ("SAN positions per set", "GlobalMaxPool", "FSPool")
FORMS = ["index", "index in disorder", "nested tensor"]


@pytest.mark.parametrize(
    ("case", "form"),
    [
        *(
            pytest.param(case, "offsets", id=case.name, marks=[pytest.mark.nightly] if case.is_variant else [])
            for case in CASES
        ),
        *(pytest.param(case, form) for case in CASES if case.name in IN_EVERY_FORM for form in FORMS),
    ],
)
def test_ragged_sets_give_what_padded_ones_give(case, form):
    layer = case.layer()
    x, mask, positions = case.sets()
    mask[1] = False
    if not layer.any_set_size:
        mask[:] = True
    expected = gradients(layer, x, mask, positions)
    assert_close(gradients(layer, x, mask, positions, call=ragged(layer, form)), expected)


@every_case
def test_ragged_sets_keep_the_dtype(case):
    dtype = torch.float16
    layer = case.layer().to(dtype)
    x, _, positions = case.sets()
    x, positions = x.to(dtype), None if positions is None else positions.to(dtype)
    full = torch.ones(B, N, dtype=torch.bool)
    eps = case.roundings * torch.finfo(dtype).eps
    assert_close(ragged(layer, "offsets")(x, full, positions), layer(x, None, positions), rtol=eps, atol=eps)


@of_any_size
def test_no_ragged_sets_give_no_vectors(case):
    layer = case.layer()
    values, places = torch.zeros(0, D).double(), None if case.positions == "none" else torch.zeros(0, P).double()
    assert layer.ragged(values, torch.tensor([0]), positions=places).shape == (0, layer.out_features)


@few_at_night_all("SimPool")
def test_what_is_made_of_reductions_pads_no_ragged_sets_and_compiles_to_one_graph(case, monkeypatch, unchecked_shapes):
    layer = case.layer()
    if not isinstance(layer, SetReduction):
        pytest.skip("pads")
    monkeypatch.delattr(RaggedSets, "padded")
    torch.compiler.reset()
    compiled = torch.compile(layer.ragged, fullgraph=True, backend="aot_eager")
    x, mask, positions = case.sets()
    places = None if positions is None else positions.expand(B, -1, -1)[mask]
    offsets = torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))
    assert_close(compiled(x[mask], offsets, positions=places), layer(x, mask, positions))


@few_at_night_all("SAN positions per set", of=("SAN positions per set", "GlobalMaxPool", "SimPool"))
def test_ragged_sets_are_exported_for_any_number(case, unchecked_shapes):
    class Ragged(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = case.layer()

        def forward(self, values, offsets, places):
            return self.layer.ragged(values, offsets, positions=places)

    def inputs(num_sets, num_elements):
        x, mask, positions = case.sets(num_sets, num_elements)
        offsets = torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))
        return x[mask], offsets, None if positions is None else positions[mask]

    elements, ends = torch.export.Dim("elements", min=1), torch.export.Dim("ends", min=2)
    dynamic = ({0: elements}, {0: ends}, None if case.positions == "none" else {0: elements})
    exported = torch.export.export(Ragged(), inputs(B, N), dynamic_shapes=dynamic).module()
    for sizes in ((2, 9), (1, 4)):
        assert_close(exported(*inputs(*sizes)), Ragged()(*inputs(*sizes)))


@parametrize([case for case in CASES if case.name in IN_EVERY_FORM])
def test_a_known_maximum_of_the_set_size_changes_nothing(case):
    layer = case.layer()
    x, mask, positions = case.sets()
    values, places = x[mask], None if positions is None else positions.expand(B, -1, -1)[mask]
    offsets = torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))
    expected = layer.ragged(values, offsets, positions=places)
    for size in (int(mask.sum(1).max()), N + 3):
        assert_close(layer.ragged(values, offsets, positions=places, max_set_size=size), expected)
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: got a set of 4 .* max_set_size=3"):
        layer.ragged(values, offsets, positions=places, max_set_size=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "got neither offsets nor index, expected one of them, or a nested tensor"),
        ({"offsets": [0, 5], "index": [0] * 5}, "got offsets and index, expected one of them"),
        ({"offsets": [[0, 5]]}, r"got offsets of shape \(1, 2\), expected \(B \+ 1,\)"),
        ({"offsets": [0, 5], "num_sets": 2}, r"got offsets of shape \(2,\), expected \(3,\)"),
        ({"offsets": [1, 5]}, "got offsets from 1 to 5, expected them to rise from 0 to 5"),
        ({"offsets": [0, 3, 2, 4, 5]}, "got offsets from 0 to 5, some falling, expected"),
        ({"offsets": [0, 4]}, "got offsets from 0 to 4, expected"),
        ({"index": [0] * 4}, r"got index of shape \(4,\), expected \(5,\)"),
        ({"index": [0, 1, 2, 1, 0], "num_sets": 2}, "got set numbers from 0 to 2 in index, expected 0 to 1"),
        ({"index": [0, 1, -1, 1, 0]}, "got set numbers from -1 to 1 in index, expected 0 to 1"),
    ],
)
def test_ragged_sets_in_no_known_form_are_refused(arguments, message, unchecked_shapes):
    tensors = {name: torch.tensor(value) if name != "num_sets" else value for name, value in arguments.items()}
    with pytest.raises(ValueError, match=f"GlobalAvgPool: {message}"):
        GlobalAvgPool(D).ragged(torch.zeros(5, D), **tensors)


def test_ragged_sets_of_another_size_are_refused(unchecked_shapes):
    layer = SAN(D, M, position_features=P)
    offsets = torch.tensor([0, 5])
    with pytest.raises(ValueError, match=r"SAN: got values of shape \(5, 3\), expected \(T, D=4\)"):
        layer.ragged(torch.zeros(5, 3), offsets)
    with pytest.raises(ValueError, match=r"SAN: got positions of shape \(4, 2\), expected \(T=5, P\)"):
        layer.ragged(torch.zeros(5, D), offsets, positions=torch.zeros(4, P))


def test_nested_tensors_in_no_known_form_are_refused(unchecked_shapes):
    nested = torch.nested.nested_tensor_from_jagged(torch.zeros(5, D), torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="GlobalAvgPool: got a nested tensor with offsets or index"):
        GlobalAvgPool(D).ragged(nested, torch.tensor([0, 5]))
    with pytest.raises(ValueError, match=r"GlobalAvgPool: got a nested tensor, .* give it to the method ragged"):
        GlobalAvgPool(D)(nested)
    with pytest.warns(UserWarning, match="prototype"):
        strided = torch.nested.nested_tensor([torch.zeros(5, D)])
    with pytest.raises(ValueError, match=r"got a nested tensor of layout torch.strided, expected torch.jagged"):
        GlobalAvgPool(D).ragged(strided)


def test_ragged_sets_may_have_gaps_between_them_in_a_nested_tensor():
    values = torch.tensor([[1.0], [100.0], [3.0], [5.0], [100.0]])
    nested = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 2, 5]), torch.tensor([1, 2]))
    assert GlobalAvgPool(1).ragged(nested).tolist() == [[1], [4]]


def test_ragged_sets_are_counted_in_integers_of_any_size():
    values = torch.tensor([[1.0], [3.0], [5.0]])
    for arguments in ({"offsets": torch.tensor([0, 2, 3]).int()}, {"index": torch.tensor([0, 0, 1]).int()}):
        assert AvgMaxPool(1).ragged(values, **arguments).tolist() == [[2, 3], [5, 5]]
        assert FSPool(1).ragged(values, **arguments).shape == (2, 1)


def test_the_number_of_ragged_sets_is_the_largest_in_the_index_unless_told():
    values, index = torch.ones(3, 1), torch.tensor([0, 2, 0])
    assert GlobalAvgPool(1).ragged(values, index=index).tolist() == [[1], [0], [1]]
    assert GlobalAvgPool(1).ragged(values, index=index, num_sets=4).tolist() == [[1], [0], [1], [0]]


@every_case
def test_state_dict_makes_the_round_trip(case):
    saved, layer = case.layer(), case.build().double()
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    layer.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(layer(*case.sets()), saved(*case.sets()))


@few_at_night_all("SAN positions", "SetTransformer", "Quantile")
def test_export_replays_at_another_size(case, unchecked_shapes):
    layer = case.layer()
    sets, elements = torch.export.Dim("sets"), torch.export.Dim("elements")
    sizes = {0: sets, 1: elements} if layer.any_set_size else {0: sets}
    inputs = [t for t in case.sets() if t is not None]
    dynamic = [{0: elements} if case.positions == "shared" and t is inputs[2] else sizes for t in inputs]
    exported = torch.export.export(layer, tuple(inputs), dynamic_shapes=tuple(dynamic)).module()
    replayed = case.sets(num_sets=2, num_elements=9 if layer.any_set_size else N)
    assert_close(exported(*(t for t in replayed if t is not None)), layer(*replayed))


@few_at_night_all("SAN positions", "PMA")
def test_compiles_to_one_graph(case, unchecked_shapes):
    torch.compiler.reset()
    layer = case.layer()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")  # inductor takes half a minute to warm up
    assert_close(gradients(compiled, *case.sets()), gradients(layer, *case.sets()))


@every_case
@pytest.mark.skipif(not torch.accelerator.is_available(), reason="no accelerator on this machine")
def test_accelerator_agrees_with_cpu(case):
    device = torch.accelerator.current_accelerator()
    layer = case.layer().float()
    x, mask, positions = case.sets()
    x, positions = x.float(), None if positions is None else positions.float()
    expected = layer(x, mask, positions)
    output = layer.to(device)(x.to(device), mask.to(device), None if positions is None else positions.to(device))
    assert output.device.type == device.type
    assert_close(output.cpu(), expected)


@one_of_each_form
def test_elements_of_another_size_are_refused_by_name(case, unchecked_shapes):
    layer = case.layer()
    for shape in ((B, N, D + 1), (N, D)):
        with pytest.raises(ValueError, match=rf"{type(layer).__name__}: got x of shape \({shape[0]}, .*D={D}\)"):
            layer(torch.randn(shape))


@one_of_each_form
def test_mask_of_another_shape_is_refused_by_name(case, unchecked_shapes):
    layer = case.layer()
    x, mask, positions = case.sets()
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}: got mask of shape \(3, 4\), .* = \(3, 5\)"):
        layer(x, mask[:, 1:], positions)
