"""Standard deviation over a set."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.set_reduction import SetReduction
from set_aggregation.aggregators.sets import Sets


class StdPool(SetReduction):
    r"""Standard deviation of each feature.

    .. math::
        \sigma_d^2 = \frac{1}{N} \sum_{i=1}^{N} (x_{id} - \mu_d)^2, \qquad \mu = \frac{1}{N} \sum_{i=1}^{N} x_i.

    The variance is computed from the deviations, not as a difference of two large numbers, in float32 at least. Where
    it is zero, as for a set of one element, :math:`\sigma` and its gradient are zero; elsewhere the gradient has length
    :math:`1 / \sqrt N`.

    Args:
        in_features: size D of an element, and of the output.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros.

    Example:
        >>> import torch
        >>> StdPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[1., 2.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the standard deviation of each feature."""
        variance = sets.mean((x - sets.broadcast(sets.mean(x))).square())  # at least in float32, like the mean
        constant = variance == 0
        # Masked twice: the gradient of the root of zero is infinite, and 0 times that is NaN.
        return variance.masked_fill(constant, 1).sqrt().masked_fill(constant, 0)
