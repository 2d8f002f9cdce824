"""SAN's sum as operators of torch, known to ``torch.compile`` and autograd."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from set_aggregation.aggregators._kernels import cpu as blocked
from set_aggregation.aggregators.sets import PaddedSets, accumulation_dtype, with_positions

Operator = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]

_INPUTS = "Tensor x, Tensor weight, Tensor bias, Tensor? mask, Tensor? positions"


def formula(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
    """Return SAN's sum by its formula."""
    sets = PaddedSets(mask)
    rows = sets.mask_padding(with_positions(x, positions))
    return sets.sum(torch.nn.functional.linear(rows, weight, bias).relu())


def _operator(name: str, forward: Callable[..., Any], backward: Callable[..., Any], stores_active: bool) -> Operator:
    """Register SAN's sum, in float32 at least, and its gradient as operators.

    ``forward`` also returns a byte per activation for ``backward``, or none if ``keep_active`` is False.
    """
    schema = f"({_INPUTS}, bool keep_active) -> (Tensor, Tensor)"
    operator = torch.library.custom_op(f"set_aggregation::{name}", forward, mutates_args=(), schema=schema)
    schema = f"(Tensor grad, Tensor active, {_INPUTS}, bool rows_need_grad, bool directions_need_grad)"
    schema += " -> (Tensor, Tensor, Tensor, Tensor)"
    gradient = torch.library.custom_op(f"set_aggregation::{name}_backward", backward, mutates_args=(), schema=schema)

    @operator.register_fake
    def _(x: Tensor, weight: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        size = (x.shape[0], x.shape[1], weight.shape[0]) if arguments[-1] else (0,)
        total = x.new_empty(x.shape[0], weight.shape[0], dtype=accumulation_dtype(x.dtype))
        return total, x.new_empty(size, dtype=torch.int8)

    @gradient.register_fake
    def _(
        _grad: Tensor, _active: Tensor, x: Tensor, weight: Tensor, bias: Tensor, _mask: Any, positions: Any, *_: Any
    ) -> tuple[Tensor, ...]:
        grad_positions = x.new_empty(0) if positions is None else torch.empty_like(positions)
        return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias), grad_positions

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)  # or the bytes get a gradient of zeros
        ctx.save_for_backward(output[1], *inputs[:5])

    def differentiate(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 6
        active, *inputs = ctx.saved_tensors
        needs_input_grad = ctx.needs_input_grad[:5]
        if torch.is_grad_enabled():  # the gradient is differentiated in turn
            return (*_differentiable(grad, inputs, needs_input_grad), None)
        x_needs, weight_needs, bias_needs, _, positions_need = needs_input_grad
        grads = gradient(grad, active, *inputs, x_needs or positions_need, weight_needs or bias_needs)
        return (*grads[:3], None, grads[3] if positions_need else None, None)

    operator.register_autograd(differentiate, setup_context=save)

    def san_sum(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        differentiable = any(each is not None and each.requires_grad for each in (x, weight, bias, positions))
        keep_active = stores_active and differentiable and torch.is_grad_enabled()
        return operator(x, weight, bias, mask, positions, keep_active)[0]

    return san_sum


def _differentiable(
    grad: Tensor, inputs: Sequence[Any], needs_input_grad: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    sources = [i for i, needed in enumerate(needs_input_grad) if needed]
    grads = torch.autograd.grad(formula(*inputs), [inputs[i] for i in sources], grad, create_graph=True)
    return tuple(grads[sources.index(i)] if i in sources else None for i in range(len(inputs)))


@cache
def trusted_kernels(device: torch.device, dtype: torch.dtype) -> ModuleType:
    """Return Triton's kernels if they are right on this device in a small case, else the blocked ones."""
    try:
        from set_aggregation.aggregators._kernels import triton_sum  # imported only where Triton is installed

        generator = torch.Generator().manual_seed(0)
        sizes = ((8, 20, 17), (33, 19), (33,), (20, 2), (8, 33))
        x, weight, bias, positions, grad = (torch.randn(size, generator=generator).to(device, dtype) for size in sizes)
        mask = (torch.rand(8, 20, generator=generator) > 0.3).to(device)
        inputs = (grad.float(), x, weight, bias, mask, positions)
        found = _sum_and_gradients(triton_sum, *inputs)
        expected = _sum_and_gradients(blocked, *(t if t is mask else t.double() for t in inputs))
        error = max(((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True))
        # Rounding to TF32 may move a projection across zero, which changes whole entries of the gradient.
        exact = dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
        tolerance = 1e-3 if exact else 0.06
        failure = None if error <= tolerance else f"relative error {error:.1e}, expected at most {tolerance:.1e}"
    except Exception as exception:
        failure = f"{type(exception).__name__}: {exception}".splitlines()[0]
    if failure is None:
        return triton_sum
    warnings.warn(
        f"SAN: the Triton kernels failed their check for {dtype} on {device} ({failure}); using the blocked sum",
        stacklevel=2,
    )
    return blocked


def _sum_and_gradients(kernels: ModuleType, grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    total, active = kernels.forward(*inputs, True)
    return (total, *kernels.backward(grad, active, *inputs, True, True))


def _triton_forward(x: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
    return trusted_kernels(x.device, x.dtype).forward(x, *inputs)


def _triton_backward(grad: Tensor, active: Tensor, x: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return trusted_kernels(x.device, x.dtype).backward(grad, active, x, *inputs)


san_blocked = _operator("san_blocked", blocked.forward, blocked.backward, stores_active=True)
san_triton = _operator("san_triton", _triton_forward, _triton_backward, stores_active=False)  # recomputes them
