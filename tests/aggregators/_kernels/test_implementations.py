"""Every implementation of SAN's sum is the same sum, with the same gradients."""

from importlib.util import find_spec

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from set_aggregation.aggregators import SAN
from set_aggregation.aggregators._kernels import _torch, operators
from set_aggregation.aggregators._kernels import cpu as blocked

without_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
DEVICES = {"blocked": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}
fused = pytest.mark.parametrize(
    "implementation", ["blocked", pytest.param("triton", marks=[without_triton, pytest.mark.slow])]
)
# B, N, D, P, M: one number of each; sizes of no block; M above a block; sets larger than a block; few and many sets.
SIZES = [
    (1, 1, 1, 1, 1),
    (3, 5, 4, 0, 6),
    (9, 20, 17, 2, 70),
    (2, 150, 33, 3, 130),
    (17, 9, 8, 2, 65),
]
EMPTY = [(0, 4, 4, 2, 4), (3, 0, 4, 2, 4), (9, 0, 4, 0, 4)]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few elements and neurons, so that small tensors have many."""
    monkeypatch.setattr(blocked, "BLOCK_ROWS", 8)
    monkeypatch.setattr(blocked, "BLOCK_BYTES", 8 * 16 * 4)


def case(sizes, masked, shared, reduction="sum"):
    b, n, d, p, m = sizes
    torch.manual_seed(0)
    san = SAN(d, m, reduction, position_features=p)
    x, grad = torch.randn(b, n, d), torch.randn(b, m)
    positions = None if not p else torch.randn(n, p) if shared else torch.randn(b, n, p)
    mask = torch.rand(b, n) > 0.3 if masked else None
    if masked and b:
        mask[0] = False  # an empty set
    return san, x, mask, positions, grad


def results(implementation, dtype, san, x, mask, positions, grad):
    """Output and gradients of everything, computed in a dtype."""
    device = DEVICES.get(implementation, "cpu")
    layer = SAN(x.shape[2], len(grad[0]) if len(grad) else san.out_features, san.reduction,
                position_features=san.position_features, implementation=implementation)  # fmt: skip
    layer.load_state_dict(san.state_dict())
    layer = layer.to(device, dtype)
    x = x.to(device, dtype, copy=True).requires_grad_()
    positions = None if positions is None else positions.to(device, dtype, copy=True).requires_grad_()
    output = layer(x, None if mask is None else mask.to(device), positions)
    output.backward(grad.to(device, dtype))
    grads = [x.grad, *(p.grad for p in layer.parameters()), *([] if positions is None else [positions.grad])]
    return [t.detach().double().cpu() for t in (output, *grads)]


@fused
@pytest.mark.parametrize("sizes", [SIZES[1], SIZES[4], *EMPTY[:2]], ids=str)
@pytest.mark.parametrize(("masked", "shared"), [(True, False), (False, True)], ids=["masked, per set", "shared"])
def test_values_and_gradients_are_those_of_the_formula(implementation, sizes, masked, shared, small_blocks):
    check_values_and_gradients(implementation, sizes, masked, shared)


@pytest.mark.nightly
@fused
@pytest.mark.parametrize("sizes", SIZES + EMPTY, ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "per set"])
def test_values_and_gradients_at_all_sizes(implementation, sizes, masked, shared, small_blocks):
    check_values_and_gradients(implementation, sizes, masked, shared)


def check_values_and_gradients(implementation, sizes, masked, shared):
    inputs = case(sizes, masked, shared, reduction="mean" if shared else "sum")
    exact = results("eager", torch.float64, *inputs)
    for got, expected in zip(results(implementation, torch.float32, *inputs), exact, strict=True):
        largest = expected.abs().max().item() if expected.numel() else 0
        assert_close(got, expected, rtol=0, atol=2e-6 * max(1, largest))


@fused
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_as_near_as_the_formula_in_it(implementation, dtype):
    if implementation == "triton" and DEVICES["triton"] == "cpu" and dtype == torch.bfloat16:
        pytest.skip("Triton's interpreter multiplies bfloat16 as integers")
    inputs = case((9, 20, 17, 2, 70), True, True)
    exact = results("eager", torch.float64, *inputs)
    eager, got = (results(name, dtype, *inputs) for name in ("eager", implementation))
    for one, other, expected in zip(got, eager, exact, strict=True):
        assert (one - expected).norm() <= 1.5 * (other - expected).norm() + 1e-3 * expected.norm()


@pytest.mark.slow
def test_double_precision_has_exact_gradients(small_blocks):
    san, x, mask, positions, _ = case((2, 10, 2, 1, 17), True, True)
    mask[0, 0] = True
    san.double().implementation = "blocked"
    inputs = [x.double().requires_grad_(), positions.double().requires_grad_(), *san.parameters()]

    def forward(x, positions, *values):
        names = [name for name, _ in san.named_parameters()]
        return torch.func.functional_call(san, dict(zip(names, values, strict=True)), (x, mask, positions))

    assert torch.autograd.gradcheck(forward, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(forward, inputs, fast_mode=True)


@fused
def test_what_is_not_asked_for_is_not_computed(implementation):
    san, x, mask, positions, grad = case((9, 20, 17, 2, 70), False, True)
    device = DEVICES[implementation]
    san.implementation = implementation
    san.to(device).requires_grad_(False)
    x = x.to(device).requires_grad_()
    san(x, mask, positions.to(device)).backward(grad.to(device))
    of_x = x.grad
    places = positions.to(device, copy=True).requires_grad_()
    san(x.detach(), mask, places).backward(grad.to(device))
    san.requires_grad_(True)
    san(x.detach(), mask, positions.to(device)).backward(grad.to(device))
    _, expected_x, expected_weight, _, expected_places = results(
        "eager", torch.float64, *case((9, 20, 17, 2, 70), False, True)
    )
    assert_close(places.grad.double().cpu(), expected_places, rtol=1e-5, atol=1e-4)
    assert_close(of_x.double().cpu(), expected_x, rtol=1e-5, atol=1e-4)
    assert_close(san.projection.weight.grad.double().cpu(), expected_weight, rtol=1e-5, atol=1e-4)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        # Triton's interpreter copies what it works on as bytes.
        numbers = [t for t in tree_leaves(output) if torch.is_tensor(t) and t.is_floating_point()]
        self.size = max([self.size, *(t.numel() for t in numbers)])
        return output


@pytest.mark.parametrize(
    "implementation", ["blocked", pytest.param("triton", marks=[without_triton, pytest.mark.nightly])]
)
def test_no_tensor_of_floats_is_a_tenth_as_large_as_the_activations(implementation, small_blocks):
    san, *inputs, grad = case((64, 32, 8, 2, 128), False, True)
    san.implementation = implementation
    san, x, positions, grad = (each.to(DEVICES[implementation]) for each in (san, inputs[0], inputs[2], grad))
    x.requires_grad_()
    with LargestTensor() as largest:
        san(x, None, positions).backward(grad)
    assert 0 < largest.size < 64 * 32 * 128 / 10


@fused
def test_nan_in_an_element_is_not_hidden(implementation):
    san, x, _, positions, _ = case((2, 5, 4, 2, 6), False, True)
    x[0, 1, 2] = torch.nan
    san.implementation = implementation
    device = DEVICES[implementation]
    output = san.to(device)(x.to(device), None, positions.to(device))
    assert output[0].isnan().all()
    assert output[1].isfinite().all()


@fused
def test_inputs_of_any_strides(implementation):
    san, x, _, positions, _ = case((9, 20, 17, 2, 70), False, True)
    device = DEVICES[implementation]
    feature_map = x.transpose(1, 2).contiguous().transpose(1, 2)  # as NCHW has it; x is as channels_last has it
    san.to(device).implementation = implementation
    assert not feature_map.is_contiguous()
    assert_close(san(feature_map.to(device), None, positions.to(device)), san(x.to(device), None, positions.to(device)))
    expanded = x[:1].expand(9, -1, -1).to(device).requires_grad_()
    san(expanded, None, positions.to(device)).sum().backward()  # a gradient without strides of its own
    assert expanded.grad.isfinite().all()


@pytest.mark.slow
def test_compiled_to_one_graph_with_both_operators(unchecked_shapes):
    torch.compiler.reset()
    graphs = []

    def keep(graph, _):
        graphs.append({str(node.target) for node in graph.graph.nodes})
        return make_boxed_func(graph.forward)

    san, x, mask, positions, grad = case((9, 20, 17, 2, 70), True, True)
    san.implementation = "blocked"
    compiled = torch.compile(san, fullgraph=True, dynamic=True, backend=aot_autograd(fw_compiler=keep))
    x.requires_grad_()
    compiled(x, mask, positions).backward(grad)
    assert "set_aggregation.san_blocked.default" in graphs[0]
    assert "set_aggregation.san_blocked_backward.default" in graphs[1]
    of_x, x.grad = x.grad, None
    san(x, mask, positions).backward(grad)
    assert_close(of_x, x.grad)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["auto", "blocked"])
def test_exported_program_has_the_formula_unless_told(implementation, unchecked_shapes):
    san, x, mask, positions, _ = case((9, 20, 17, 2, 70), True, True)
    san.implementation = implementation
    exported = torch.export.export(san, (x, mask, positions))
    operators = {str(node.target) for node in exported.graph.nodes}
    assert ("set_aggregation.san_blocked.default" in operators) == (implementation == "blocked")
    assert_close(exported.module()(x, mask, positions), san(x, mask, positions))


@pytest.mark.parametrize("implementation", ["eager", "blocked"])
def test_autocast_computes_in_low_precision_and_sums_in_float32(implementation):
    san, x, mask, positions, grad = case((9, 20, 17, 2, 70), True, True)
    san.implementation = implementation
    with torch.autocast("cpu", torch.bfloat16):
        output = san(x, mask, positions)
        assert san(x.bfloat16(), mask, positions).dtype == torch.float32  # sums stay in float32
    assert output.dtype == torch.float32
    assert not torch.equal(output, san(x, mask, positions))
    assert_close(output, san(x, mask, positions), rtol=0.02, atol=0.1)
    output.backward(grad)
    assert san.projection.weight.grad.dtype == torch.float32


def test_activation_checkpointing():
    san, x, mask, positions, grad = case((9, 20, 17, 2, 70), True, True)
    x.requires_grad_()
    checkpoint(san, x, mask, positions, use_reentrant=False).backward(grad)
    of_x, x.grad = x.grad, None
    san(x, mask, positions).backward(grad)
    assert torch.equal(of_x, x.grad)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch.func.jvp itself
def test_torch_func_takes_the_formula():
    san, x, *_ = case((3, 5, 4, 0, 6), False, True)
    assert_close(torch.func.vmap(lambda one: san(one[None])[0])(x), san(x))
    tangent = torch.randn_like(x)
    _, derivative = torch.func.jvp(san, (x,), (tangent,))
    h = 1e-3
    assert_close(derivative, (san(x + h * tangent) - san(x - h * tangent)) / (2 * h), rtol=0.02, atol=0.02)


def test_a_hook_on_the_projection_is_called():
    san, x, *_ = case((3, 5, 4, 0, 6), False, True)
    called = []
    san.projection.register_forward_hook(lambda *_: called.append(True))
    san(x)
    assert called


def test_a_parametrized_projection_is_used():
    san, x, *_ = case((3, 5, 4, 0, 6), False, True)
    torch.nn.utils.parametrizations.weight_norm(san.projection)
    before = san(x)
    with torch.no_grad():
        san.projection.parametrizations.weight.original0.mul_(2)
    assert not torch.allclose(san(x), before)


@pytest.mark.parametrize("implementation", ["blocked", "triton"])
@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda san: setattr(san, "activation", nn.GELU()), "the activation GELU"),
        (lambda san: san.projection.register_forward_hook(print), "a projection with hooks"),
        (lambda san: san.double(), "x of torch.float32 and weights of torch.float64"),
    ],
    ids=["activation", "hook", "dtype"],
)
def test_what_cannot_be_computed_is_refused_by_name(implementation, change, got, unchecked_shapes):
    san, x, *_ = case((3, 5, 4, 0, 6), False, True)
    san.implementation = implementation
    change(san)
    with pytest.raises(ValueError, match=rf"SAN: got {got}.*implementation='{implementation}'.*; use 'auto'"):
        san(x)


def test_unknown_implementation_is_refused(unchecked_shapes):
    with pytest.raises(ValueError, match="got implementation='cuda', expected one of auto, eager, blocked, triton"):
        SAN(3, 4, implementation="cuda")


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("onednn", [True, False])
def test_both_libraries_give_the_same(onednn, monkeypatch):
    inputs = case((9, 20, 17, 2, 70), True, True)
    monkeypatch.setattr(_torch, "onednn_is_faster", lambda: onednn)
    expected = results("eager", torch.float64, *inputs)
    assert_close(results("blocked", torch.float32, *inputs), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "is_blocked"),
    [((256, 32, 1, 0, 1024), True), ((255, 32, 1, 0, 1024), False), ((512, 64, 1, 0, 256), False)],
)
def test_auto_is_eager_where_the_activations_are_few(sizes, is_blocked, unchecked_shapes):
    san, x, *_ = case(sizes, False, True)
    with torch.no_grad(), LargestTensor() as largest:
        san(x)
    assert largest.size == (sizes[0] * sizes[4] if is_blocked else sizes[0] * sizes[1] * sizes[4])


@without_triton
def test_elements_too_large_for_registers_are_refused_by_triton(unchecked_shapes):
    device = DEVICES["triton"]
    san = SAN(129, 4, implementation="triton").to(device)
    with pytest.raises(ValueError, match=r"129 features, more than 128 of torch\.float32"):
        san(torch.randn(2, 3, 129, device=device))
    san.implementation = "auto"
    assert san(torch.randn(2, 3, 129, device=device)).shape == (2, 4)


@pytest.mark.slow
@without_triton
@pytest.mark.parametrize("fault", ["raises", "disagrees"])
def test_broken_triton_kernels_are_replaced_by_the_blocked_sum_after_one_warning(fault, monkeypatch):
    from set_aggregation.aggregators._kernels import triton_sum

    right = triton_sum.backward

    def broken(*inputs):
        if fault == "raises":
            raise RuntimeError("no such instruction")
        grad_x, *others = right(*inputs)
        return 1.1 * grad_x, *others

    monkeypatch.setattr(triton_sum, "backward", broken)
    operators.trusted_kernels.cache_clear()
    inputs = case((9, 20, 17, 2, 70), True, True)
    try:
        with pytest.warns(UserWarning, match="Triton kernels failed their check for torch.float32") as warned:
            outputs = [results("triton", torch.float32, *inputs) for _ in range(2)]
    finally:
        operators.trusted_kernels.cache_clear()
    assert len(warned) == 1
    for output in outputs:
        assert_close(output, results("blocked", torch.float32, *inputs), rtol=0, atol=1e-4)
