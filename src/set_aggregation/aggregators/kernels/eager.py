"""SAN's sum as its formula reads."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def eager_sum(
    x: Float[Tensor, "B N D"],
    mask: Bool[Tensor, "B N"] | None,
    positions: Float[Tensor, "*B N P"] | None,
    neurons: Callable[[Float[Tensor, "B N K"]], Float[Tensor, "B N M"]],
) -> Float[Tensor, "B M"]:
    """Adds up what the neurons make of the real elements of each set.

    All activations, B x N x M of them, are kept for the backward pass.

    Args:
        x: the elements.
        mask: True at real elements.
        positions: P more features of every element; K = D + P.
        neurons: the projection and its activation.

    Returns:
        The sums, in single precision or better.
    """
    if positions is not None:
        x = torch.cat((x, positions.to(x.dtype).expand(*x.shape[:2], -1)), 2)  # B N K
    # Masked twice: before, or NaN in padding reaches the gradient of the weights;
    # after, or padding adds ReLU(b), which is not zero.
    padding = None if mask is None else ~mask[..., None]
    if padding is not None:
        x = x.masked_fill(padding, 0)
    y = neurons(x)
    if padding is not None:
        y = y.masked_fill(padding, 0)
    return y.sum(1, dtype=torch.promote_types(y.dtype, torch.float32))
