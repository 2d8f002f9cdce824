"""Statistics pooling: mean and standard deviation."""

import torch
from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.set_reduction import SetReduction, Sets


class MeanStdPool(SetReduction):
    r"""Mean and standard deviation of each feature, concatenated.

    The statistics pooling layer of x-vectors, `Snyder et al. (2018)
    <https://doi.org/10.1109/ICASSP.2018.8461375>`_:

    .. math::
        y = (\mu, \sigma), \qquad \mu = \frac{1}{N} \sum_{i=1}^{N} x_i, \qquad
        \sigma_d^2 = \frac{1}{N} \sum_{i=1}^{N} (x_{id} - \mu_d)^2.

    The variance is computed from the deviations, not as a difference of two large numbers, in float32 at least. Where
    it is zero, as for a set of one element, :math:`\sigma` is exactly zero and so is its gradient, which is of length
    :math:`1 / \sqrt N` elsewhere.

    Args:
        in_features: size D of an element.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, 2D)`, the mean first; an empty set gives zeros.

    Example:
        >>> import torch
        >>> MeanStdPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4., 1., 2.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, 2 * in_features)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B M"]:
        """Lays mean and standard deviation side by side."""
        mean = sets.mean(x)  # in float32 at least, and so is what follows
        variance = sets.mean((x - sets.spread(mean)).square())
        varies = variance > 0
        # Twice: the root of zero is zero, but its gradient is not finite, and 0 times that is NaN.
        std = variance.where(varies, 1).sqrt().where(varies, 0)
        return torch.cat((mean, std), dim=1)
