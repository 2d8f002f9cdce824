"""SAN's sum by blocks that stay in the processor's cache."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_BLOCK_BYTES = 2 << 20  # of activations, for each thread; see benchmarks/san_layer.py
_BLOCK_ROWS = 1024  # elements of sets in a block, for each thread


def forward(
    x: Float[Tensor, "B N D"],
    weight: Float[Tensor, "M K"],
    bias: Float[Tensor, "M"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
) -> Float[Tensor, "B M"]:
    """SAN's sum, without the B x N x M activations: those of one block at a time are made and added up."""
    directions = torch.cat((weight, bias[:, None]), 1)  # M K+1
    total = x.new_zeros(len(x), len(weight), dtype=_sum_dtype(x))  # B M
    for sets, elements in _row_blocks(x):
        rows = _rows(x, mask, positions, sets, elements)  # b n K+1
        for columns in _column_blocks(rows, directions):
            y = _linear(rows.flatten(0, 1), directions[columns]).relu_()  # bn m
            total[sets, columns] += y.view(*rows.shape[:2], -1).sum(1, dtype=total.dtype)
    return total


def backward(
    grad: Float[Tensor, "B M"],
    x: Float[Tensor, "B N D"],
    weight: Float[Tensor, "M K"],
    bias: Float[Tensor, "M"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
    of_rows: bool,
    of_directions: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, bias and positions; activations are computed again, block by block.

    Args:
        of_rows: whether the gradients of x and positions are wanted; otherwise they are zeros.
        of_directions: whether those of weight and bias are.
    """
    directions = torch.cat((weight, bias[:, None]), 1)  # M K+1
    grad_x = torch.zeros_like(x)
    grad_positions = x.new_zeros(0) if positions is None else torch.zeros_like(positions, dtype=_sum_dtype(x))
    grad_weight = weight.new_zeros(weight.shape[::-1], dtype=_sum_dtype(x))  # K M
    grad_bias = torch.zeros_like(bias, dtype=_sum_dtype(x))
    for sets, elements in _row_blocks(x):
        rows = _rows(x, mask, positions, sets, elements)  # b n K+1
        grad_rows = x.new_zeros(rows.shape[0] * rows.shape[1], weight.shape[1])  # bn K
        for columns in _column_blocks(rows, directions):
            y = _linear(rows.flatten(0, 1), directions[columns])  # bn m
            active = y.view(*rows.shape[:2], -1)  # b n m
            # In place of the projections, the gradient of the sum where they are above zero.
            torch.ops.aten.threshold_backward.grad_input(
                grad[sets, None, columns].expand_as(active), active, 0, grad_input=active
            )
            if of_rows:
                grad_rows += _linear(y, weight[columns].t())
            if of_directions:
                grad_weight[:, columns] += _linear(rows[..., :-1].flatten(0, 1).t(), y.t())
                grad_bias[columns] += y.sum(0, dtype=grad_bias.dtype)
        grad_rows = grad_rows.view(*rows.shape[:2], -1)
        grad_x[sets, elements] = grad_rows[..., : x.shape[2]]
        if positions is not None:
            of_positions = grad_rows[..., x.shape[2] :]
            if positions.ndim == 3:
                grad_positions[sets, elements] = of_positions
            else:
                grad_positions[elements] += of_positions.sum(0, dtype=grad_positions.dtype)
    return (
        grad_x,
        grad_weight.t().to(x.dtype).contiguous(),
        grad_bias.to(x.dtype),
        grad_positions.to(x.dtype if positions is None else positions.dtype),
    )


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _row_blocks(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Whole sets, as many as a block takes, or parts of one set that is larger."""
    num_sets, num_elements, _ = x.shape
    block = _BLOCK_ROWS * torch.get_num_threads()
    sets_per_block = max(block // max(num_elements, 1), 1)
    for first in range(0, num_sets, sets_per_block):
        for element in range(0, num_elements, block):
            yield slice(first, first + sets_per_block), slice(element, element + block)


def _column_blocks(rows: Tensor, directions: Tensor) -> Iterator[slice]:
    row_bytes = rows.shape[0] * rows.shape[1] * rows.element_size()
    block = max(_BLOCK_BYTES * torch.get_num_threads() // row_bytes, 16)
    for first in range(0, len(directions), block):
        yield slice(first, first + block)


def _rows(x: Tensor, mask: Tensor | None, positions: Tensor | None, sets: slice, elements: slice) -> Tensor:
    """Elements, their positions, and a one for the bias (b n K+1); all zeros at padding, whose activations are then
    zeros, too, whatever it holds."""
    block = x[sets, elements]
    parts = [block]
    if positions is not None:
        part = positions[elements] if positions.ndim == 2 else positions[sets, elements]
        parts.append(part.to(x.dtype).expand(*block.shape[:2], -1))
    rows = torch.cat((*parts, block.new_ones(1).expand(*block.shape[:2], 1)), 2)
    return rows if mask is None else rows.masked_fill_(~mask[sets, elements, None], 0)


def _onednn(x: Tensor) -> bool:
    """Whether oneDNN multiplies these: on processors for which the other library has no fast code it is several times
    faster."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    if _onednn(x):
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return x @ weight.t()
