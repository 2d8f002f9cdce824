"""SAN's sum by blocks of activations that stay in the processor's cache."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from set_aggregation.aggregators._kernels import _torch
from set_aggregation.aggregators.sets import accumulation_dtype

BLOCK_BYTES = 2 << 20  # of activations, for each thread; see benchmarks/san_layer.py
BLOCK_ROWS = 1024  # elements of sets in a block, for each thread


def forward(
    x: Float[Tensor, "B N D"],
    weight: Float[Tensor, "M K"],
    bias: Float[Tensor, "M"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
    keep_active: bool,
) -> tuple[Float[Tensor, "B M"], Int8[Tensor, "*active"]]:
    """Return SAN's sum and, for :func:`backward`, a byte that is 1 where an activation is positive, else 0.

    One block of the B x N x M activations is in memory at a time. To compute it again would take longer.
    """
    directions = torch.cat((weight, bias[:, None]), 1)  # M K+1
    total = x.new_zeros(len(x), len(weight), dtype=accumulation_dtype(x.dtype))  # B M
    active = x.new_empty((*x.shape[:2], len(weight)) if keep_active else 0, dtype=torch.int8)
    for sets, elements in _row_blocks(x):
        rows = _rows(x, mask, positions, sets, elements)  # b n K+1
        for columns in _column_blocks(rows, directions):
            y = _linear(rows.flatten(0, 1), directions[columns]).relu_().view(*rows.shape[:2], -1)  # b n m
            total[sets, columns] += y.sum(1, dtype=total.dtype)
            if keep_active:
                active[sets, elements, columns] = y.sign_()
    return total, active


def backward(
    grad: Float[Tensor, "B M"],
    active: Int8[Tensor, "*active"],
    x: Float[Tensor, "B N D"],
    weight: Float[Tensor, "M K"],
    bias: Float[Tensor, "M"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
    rows_need_grad: bool,
    directions_need_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight, bias and positions, block by block."""
    if active.numel() == 0:  # not stored
        active = forward(x, weight, bias, mask, positions, keep_active=True)[1]
    directions = torch.cat((weight, bias[:, None]), 1)  # M K+1
    grad_x, dtype = torch.empty_like(x), accumulation_dtype(x.dtype)
    grad_positions = x.new_zeros(0) if positions is None else torch.zeros_like(positions, dtype=dtype)
    grad_directions = directions.new_zeros(directions.shape[::-1], dtype=dtype)  # K+1 M
    for sets, elements in _row_blocks(x):
        rows = _rows(x, mask, positions, sets, elements)  # b n K+1
        grad_rows = x.new_zeros(rows.shape[0] * rows.shape[1], weight.shape[1], dtype=dtype)  # bn K
        for columns in _column_blocks(rows, directions):
            y = active[sets, elements, columns].to(x.dtype)  # b n m
            # Overwrites the ones with the gradient of the sum.
            torch.ops.aten.threshold_backward.grad_input(grad[sets, None, columns].expand_as(y), y, 0, grad_input=y)
            y = y.flatten(0, 1)  # bn m
            if rows_need_grad:
                grad_rows += _linear(y, weight[columns].t())
            if directions_need_grad:
                grad_directions[:, columns] += _linear(rows.flatten(0, 1).t(), y.t())
        grad_rows = grad_rows.view(*rows.shape[:2], -1)
        grad_x[sets, elements] = grad_rows[..., : x.shape[2]]
        if positions is not None:
            grad_place = grad_rows[..., x.shape[2] :]
            if positions.ndim == 3:
                grad_positions[sets, elements] = grad_place
            else:
                grad_positions[elements] += grad_place.sum(0, dtype=grad_positions.dtype)
    return (
        grad_x,
        grad_directions[:-1].t().to(x.dtype).contiguous(),
        grad_directions[-1].to(x.dtype, copy=True),
        grad_positions.to(x.dtype if positions is None else positions.dtype),
    )


def _row_blocks(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of whole sets, or of parts of one set that is larger than a block."""
    num_sets, num_elements, _ = x.shape
    block = BLOCK_ROWS * torch.get_num_threads()
    sets_per_block = max(block // max(num_elements, 1), 1)
    for first in range(0, num_sets, sets_per_block):
        for element in range(0, num_elements, block):
            yield slice(first, first + sets_per_block), slice(element, element + block)


def _column_blocks(rows: Tensor, directions: Tensor) -> Iterator[slice]:
    row_bytes = rows.shape[0] * rows.shape[1] * rows.element_size()
    block = max(BLOCK_BYTES * torch.get_num_threads() // row_bytes, 16)
    for first in range(0, len(directions), block):
        yield slice(first, first + block)


def _rows(x: Tensor, mask: Tensor | None, positions: Tensor | None, sets: slice, elements: slice) -> Tensor:
    """Return elements, positions and a one for the bias (b n K+1), zero at padding, whose activations are then zero."""
    block = x[sets, elements]
    parts = [block]
    if positions is not None:
        part = positions[elements] if positions.ndim == 2 else positions[sets, elements]
        parts.append(part.to(x.dtype).expand(*block.shape[:2], -1))
    rows = torch.cat((*parts, block.new_ones(1).expand(*block.shape[:2], 1)), 2)
    return rows if mask is None else rows.masked_fill_(~mask[sets, elements, None], 0)


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    fast = x.dtype == torch.float32 and x.device.type == "cpu" and _torch.onednn_is_faster()
    return _torch.onednn_linear(x, weight) if fast else x @ weight.t()
