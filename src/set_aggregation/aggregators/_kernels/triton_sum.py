"""SAN's sum by Triton kernels."""

from typing import Any

import torch
import triton
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from set_aggregation.aggregators._kernels import triton_kernels
from set_aggregation.aggregators.sets import with_positions

_PROGRAMS = 512  # for the gradient of the weights: about four per multiprocessor of a large GPU
_FEW_SETS = 8
_SETS_PER_POSITION = 16  # fewer would make the partial gradients of the positions as large as the activations


def forward(
    x: Float[Tensor, "B N D"],
    weight: Float[Tensor, "M K"],
    bias: Float[Tensor, "M"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
    _keep_active: bool,
) -> tuple[Float[Tensor, "B M"], Int8[Tensor, "0"]]:
    """Return SAN's sum, and no activations; only its inputs and its output are read from and written to memory."""
    tensors, numbers, constants = _arguments(x, weight, bias, mask, positions)
    y = x.new_zeros(len(x), len(weight), dtype=torch.float32)
    if y.numel() and x.shape[1]:
        triton_kernels.forward[
            lambda meta: (triton.cdiv(len(weight), meta["BLOCK_M"]), triton.cdiv(len(x), meta["SETS"]))
        ](*tensors, y, *numbers, **constants)
    return y, x.new_empty(0, dtype=torch.int8)


def backward(
    grad: Float[Tensor, "B M"],
    _active: Int8[Tensor, "0"],
    x: Float[Tensor, "B N D"],
    weight: Float[Tensor, "M K"],
    bias: Float[Tensor, "M"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
    rows_need_grad: bool,
    directions_need_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight, bias and positions, recomputing the activations."""
    tensors, numbers, constants = _arguments(x, weight, bias, mask, positions)
    rows, _, shared, _ = tensors
    grad = grad.contiguous()
    num_sets, num_elements, num_features = rows.shape
    any_work = num_sets * num_elements > 0
    grad_x = torch.zeros_like(rows)
    if rows_need_grad and any_work:
        triton_kernels.backward_x[lambda meta: (triton.cdiv(num_elements, meta["BLOCK_N"]), num_sets)](
            grad, *tensors, grad_x, *numbers, *grad_x.stride(), **constants
        )
    # The gradient of a direction is a sum over all elements of all sets, divided among many programs.
    positional = shared.ndim == 2
    wanted = max(_PROGRAMS // triton.cdiv(len(weight), 64), 1)
    sets_per_share = max(triton.cdiv(num_sets, wanted), _SETS_PER_POSITION if positional else 1)
    set_shares = triton.cdiv(num_sets, sets_per_share)
    element_shares = max(min(wanted // max(set_shares, 1), triton.cdiv(num_elements, 64)), 1)
    shares = set_shares * element_shares
    grad_weight = x.new_zeros(shares, len(weight), num_features, dtype=torch.float32)
    grad_bias = x.new_zeros(set_shares if positional else shares, *shared.shape, dtype=torch.float32)
    if (directions_need_grad or (rows_need_grad and positional)) and any_work:
        triton_kernels.backward_weight[lambda meta: (triton.cdiv(len(weight), meta["BLOCK_M"]), shares)](
            grad, *tensors, grad_weight, grad_bias, *numbers, sets_per_share, set_shares, element_shares, **constants
        )
    return _gradients(grad_x, grad_weight.sum(0), grad_bias.sum(0), x, weight, positions)


def _arguments(
    x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, positions: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], tuple[int, ...], dict[str, Any]]:
    """Return the arguments of all kernels: x, weight, bias and mask; sizes and strides; constants."""
    # Positions that all sets share become a bias per position, N M, so that the inner size stays D: D + P would be
    # padded to the next power of two. For few sets that does not pay; then, and where each set has its own positions,
    # they are P more features.
    if positions is not None and (positions.ndim == 3 or len(x) < _FEW_SETS):
        x = with_positions(x, positions)
    elif positions is not None:
        weight, position_weight = weight.tensor_split([x.shape[2]], 1)
        bias = torch.addmm(bias.float(), positions.float(), position_weight.float().t())
    num_sets, num_elements, num_features = x.shape
    # Block sizes are tuned once per power of two, not per number of elements.
    sizes = num_sets, num_elements, len(weight), num_features, triton.next_power_of_2(num_elements)
    constants = {
        "BLOCK_D": max(triton.next_power_of_2(num_features), 16),
        "MASKED": mask is not None,
        "POSITIONAL": bias.ndim == 2,
        # float32 products on tensor cores: in three parts, or rounded if torch allows it.
        "PRECISION": "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32",
    }
    tensors = x, weight.contiguous(), bias, x if mask is None else mask.contiguous()
    return tensors, (*sizes, *x.stride(), bias.shape[-1]), constants


def _gradients(
    grad_x: Tensor, grad_weight: Tensor, grad_bias: Tensor, x: Tensor, weight: Tensor, positions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight, bias and positions from those of the kernels' arguments."""
    if positions is None:
        grad_positions = x.new_zeros(0)
    elif grad_bias.ndim == 2:
        grad_positions = grad_bias @ weight[:, x.shape[2] :].float()  # N P
        grad_weight = torch.cat((grad_weight, grad_bias.t() @ positions.float()), 1)
        grad_bias = grad_bias.sum(0)
    else:
        grad_x, grad_positions = grad_x.tensor_split([x.shape[2]], 2)
        grad_x = grad_x.clone()  # an operator's outputs may not share memory
        grad_positions = grad_positions.clone() if positions.ndim == 3 else grad_positions.sum(0)
    dtype = x.dtype if positions is None else positions.dtype
    return grad_x, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), grad_positions.to(dtype)
