"""Power mean over sets, with finite derivatives of every order at zero."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.sets import Sets


def power_mean(
    x: Float[Tensor, "*sets M"], p: float | Float[Tensor, "_"], sets: Sets, mean: bool = True
) -> Float[Tensor, "B M"]:
    r"""Return :math:`(\frac{1}{N} \sum_i x_i^p)^{1/p}`, or the same without 1/N.

    The largest element is factored out, so that no power overflows. Where all elements are zero, so are the output and
    its derivatives.
    """
    x = sets.mask_padding(x)
    largest = sets.max(x).detach()  # cancels out: derivatives of every order may take it for a constant
    all_zero = largest == 0
    largest = largest.masked_fill(all_zero, 1)
    ratio = x / sets.broadcast(largest)
    # Neither a power nor a root of zero is taken: some of their derivatives are infinite.
    is_zero = ratio == 0
    powers = (ratio.masked_fill(is_zero, 1) ** p).masked_fill(is_zero, 0)
    total = sets.mean(powers) if mean else sets.sum(powers)
    return (largest * total.masked_fill(all_zero, 1) ** (1 / p)).masked_fill(all_zero, 0)
