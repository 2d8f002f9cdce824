"""Standard deviation over a set."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import SetReduction
from set_aggregation.aggregators.sets import Sets


class StdPool(SetReduction):
    r"""Standard deviation of each feature.

    .. math::
        \sigma_d^2 = \frac{1}{N} \sum_{i=1}^{N} (x_{id} - \mu_d)^2, \qquad \mu = \frac{1}{N} \sum_{i=1}^{N} x_i.

    Where it is zero, as for a set of one element, so is its gradient.

    Args:
        in_features: size D of an element, and of the output.

    Example:
        >>> import torch
        >>> StdPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[1., 2.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the standard deviation of each feature, from deviations rather than a difference of large numbers."""
        variance = sets.mean((x - sets.broadcast(sets.mean(x))).square())  # at least in float32, like the mean
        constant = variance == 0
        # Masked twice: the gradient of the root of zero is infinite, and 0 times that is NaN.
        return variance.masked_fill(constant, 1).sqrt().masked_fill(constant, 0)
