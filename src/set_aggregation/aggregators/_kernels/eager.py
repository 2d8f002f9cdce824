"""SAN's sum as its formula reads."""

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor

from set_aggregation.aggregators.element_sum import with_positions
from set_aggregation.aggregators.padded_sets import PaddedSets


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
    sets = PaddedSets(mask)
    # Masked twice: before, or NaN in padding reaches the gradient of the weights;
    # after, or padding adds ReLU(b), which is not zero.
    return sets.sum(neurons(sets.only_real(with_positions(x, positions))))
