"""SAN's sum as operators of torch, so that ``torch.compile`` and autograd know them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from set_aggregation.aggregators._kernels import cpu as blocked
from set_aggregation.aggregators._kernels.eager import eager_sum

Operator = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
Backward = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]

_INPUTS = "Tensor x, Tensor weight, Tensor bias, Tensor? mask, Tensor? positions"


def _operator(name: str, forward: Operator, backward: Backward) -> Operator:
    """Registers an operator and its gradient.

    The operator takes elements x (B, N, D), directions (M, D + P), biases (M,), a mask (B, N) or None and positions
    (N, P) or (B, N, P) or None, and gives the sums (B, M) in single precision or better.
    """
    schema = f"(Tensor grad, {_INPUTS}, bool of_rows, bool of_directions) -> (Tensor, Tensor, Tensor, Tensor)"
    operator = torch.library.custom_op(
        f"set_aggregation::{name}", forward, mutates_args=(), schema=f"({_INPUTS}) -> Tensor"
    )
    gradient = torch.library.custom_op(f"set_aggregation::{name}_backward", backward, mutates_args=(), schema=schema)

    @operator.register_fake
    def _(x: Tensor, weight: Tensor, *_: Any) -> Tensor:
        return x.new_empty(x.shape[0], weight.shape[0], dtype=torch.promote_types(x.dtype, torch.float32))

    @gradient.register_fake
    def _(
        _grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, _mask: Any, positions: Any, *_: Any
    ) -> tuple[Tensor, ...]:
        of_positions = x.new_empty(0) if positions is None else torch.empty_like(positions)
        return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias), of_positions

    def keep(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:  # noqa: ARG001 - torch's signature
        ctx.save_for_backward(*inputs)

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mask, positions = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():  # the gradient is differentiated in turn
            return _differentiable(grad, ctx.saved_tensors, wanted)
        of_rows, of_directions = wanted[0] or wanted[4], wanted[1] or wanted[2]
        grads = gradient(grad, x, weight, bias, mask, positions, of_rows, of_directions)
        return (*grads[:3], None, grads[3] if wanted[4] else None)

    operator.register_autograd(differentiate, setup_context=keep)
    return operator


def _differentiable(grad: Tensor, inputs: tuple[Any, ...], wanted: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    x, weight, bias, mask, positions = inputs
    y = eager_sum(x, mask, positions, lambda rows: torch.nn.functional.linear(rows, weight, bias).relu())
    sources = [i for i, needed in enumerate(wanted) if needed]
    grads = torch.autograd.grad(y, [inputs[i] for i in sources], grad, create_graph=True)
    return tuple(grads[sources.index(i)] if i in sources else None for i in range(len(inputs)))


def _triton_forward(*inputs: Any) -> Tensor:
    from set_aggregation.aggregators._kernels import triton_sum  # only where there is Triton

    return triton_sum.forward(*inputs)


def _triton_backward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from set_aggregation.aggregators._kernels import triton_sum

    return triton_sum.backward(*inputs)


san_blocked = _operator("san_blocked", blocked.forward, blocked.backward)
san_triton = _operator("san_triton", _triton_forward, _triton_backward)
