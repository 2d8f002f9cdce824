"""SAN's sum by Triton kernels."""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from jaxtyping import Bool, Float
from torch import Tensor

from set_aggregation.aggregators._kernels import triton_kernels
from set_aggregation.aggregators.element_sum import with_positions

_PROGRAMS = 512  # for the gradient of the weights: about four for each multiprocessor of a large GPU
_FEW_SETS = 8
_SETS_PER_PLACE = 16  # or the shares of the gradient of each place would be as many numbers as the activations


def forward(
    x: Float[Tensor, "B N D"],
    weight: Float[Tensor, "M K"],
    bias: Float[Tensor, "M"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
) -> Float[Tensor, "B M"]:
    """SAN's sum; what goes through memory is its input and its output."""
    inputs = _Inputs.of(x, weight, bias, mask, positions)
    y = x.new_zeros(len(x), len(weight), dtype=torch.float32)
    if y.numel() and x.shape[1]:
        triton_kernels.forward[
            lambda meta: (triton.cdiv(len(weight), meta["BLOCK_M"]), triton.cdiv(len(x), meta["SETS"]))
        ](*inputs.tensors, y, *inputs.sizes, *inputs.strides, **inputs.constants)
    return y


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
    """Gradients of x, weight, bias and positions; activations are computed again.

    Args:
        of_rows: whether the gradients of x and positions are wanted; otherwise they are zeros.
        of_directions: whether those of weight and bias are.
    """
    inputs = _Inputs.of(x, weight, bias, mask, positions)
    grad = grad.contiguous()
    num_sets, num_elements, num_features = inputs.x.shape
    any_work = num_sets * num_elements > 0
    grad_x = torch.zeros_like(inputs.x)
    if of_rows and any_work:
        triton_kernels.backward_x[lambda meta: (triton.cdiv(num_elements, meta["BLOCK_N"]), num_sets)](
            grad, *inputs.tensors, grad_x, *inputs.sizes, *inputs.strides, *grad_x.stride(), **inputs.constants
        )
    # The gradient of a direction is a sum over all elements of all sets: many programs make a share of it each.
    positional = inputs.bias.ndim == 2
    wanted = max(_PROGRAMS // triton.cdiv(len(weight), 64), 1)
    sets_per_share = max(triton.cdiv(num_sets, wanted), _SETS_PER_PLACE if positional else 1)
    set_shares = triton.cdiv(num_sets, sets_per_share)
    element_shares = max(min(wanted // max(set_shares, 1), triton.cdiv(num_elements, 64)), 1)
    shares = set_shares * element_shares
    grad_weight = x.new_zeros(shares, len(weight), num_features, dtype=torch.float32)
    grad_bias = x.new_zeros(set_shares if positional else shares, *inputs.bias.shape, dtype=torch.float32)
    if (of_directions or (of_rows and positional)) and any_work:
        triton_kernels.backward_weight[lambda meta: (triton.cdiv(len(weight), meta["BLOCK_M"]), shares)](
            grad, *inputs.tensors, grad_weight, grad_bias, *inputs.sizes, *inputs.strides,
            sets_per_share, set_shares, element_shares, **inputs.constants,
        )  # fmt: skip
    return _gradients(grad_x, grad_weight.sum(0), grad_bias.sum(0), x, weight, positions)


@dataclass(frozen=True)
class _Inputs:
    """What the kernels are called with.

    Positions that all sets share become a bias of each place, so that the inner size stays D: D + P would be padded
    to the next power of two. For few sets that costs more than it earns; then, and where each set has positions of its
    own, they are P more features.
    """

    x: Tensor  # B N D, or B N D+P
    weight: Tensor  # M D, or M D+P
    bias: Tensor  # M, or N M
    mask: Tensor | None

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, positions: Tensor | None) -> "_Inputs":
        mask = None if mask is None else mask.contiguous()
        if positions is None:
            return cls(x, weight.contiguous(), bias, mask)
        if positions.ndim == 3 or len(x) < _FEW_SETS:
            return cls(with_positions(x, positions), weight.contiguous(), bias, mask)
        of_x, of_positions = weight.tensor_split([x.shape[2]], 1)
        places = torch.addmm(bias.float(), positions.float(), of_positions.float().t())
        return cls(x, of_x.contiguous(), places, mask)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.x, self.weight, self.bias, self.x if self.mask is None else self.mask

    @property
    def sizes(self) -> tuple[int, ...]:
        num_sets, num_elements, num_features = self.x.shape
        # Block sizes are tuned for each power of two, not for each number of elements.
        return num_sets, num_elements, len(self.weight), num_features, triton.next_power_of_2(num_elements)

    @property
    def strides(self) -> tuple[int, ...]:
        return (*self.x.stride(), self.bias.shape[-1])

    @property
    def constants(self) -> dict[str, Any]:
        return {
            "BLOCK_D": max(triton.next_power_of_2(self.x.shape[2]), 16),
            "MASKED": self.mask is not None,
            "POSITIONAL": self.bias.ndim == 2,
            # Products of single precision on tensor cores: in three parts, or rounded where torch is told to.
            "PRECISION": "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32",
        }


def _gradients(
    grad_x: Tensor, grad_weight: Tensor, grad_bias: Tensor, x: Tensor, weight: Tensor, positions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, weight, bias and positions, from those of what the kernels were called with."""
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
