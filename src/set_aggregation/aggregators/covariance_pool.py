"""Second-order pooling: the square root of the covariance."""

import torch
from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.sets import PaddedSets, accumulation_dtype


class CovariancePool(Aggregator):
    r"""Square root of the covariance matrix of the elements, its upper triangle as a vector.

    iSQRT-COV of `Li et al. (2018) <https://arxiv.org/abs/1712.01034>`_, Section 3:

    .. math::
        \Sigma = \frac{1}{N} \sum_{i=1}^{N} (x_i - \mu)(x_i - \mu)^\top, \qquad
        Y_0 = \Sigma / \mathrm{tr}\,\Sigma, \quad Z_0 = I,

        Y_k = \tfrac12 Y_{k-1} (3 I - Z_{k-1} Y_{k-1}), \quad Z_k = \tfrac12 (3 I - Z_{k-1} Y_{k-1}) Z_{k-1}, \qquad
        y = \mathrm{triu}(\sqrt{\mathrm{tr}\,\Sigma} \; Y_K).

    The result is not the exact root: after K = 5 the root of an eigenvalue of :math:`Y_0` of 0.1, 0.01 or 0.001 is too
    small by 0.3, 34 or 76 %; after K = 10 by less than 1e-10 for the first two and 2 % for the third. A covariance of
    rank below D, as for N <= D, diverges beyond about 20 iterations. Where all elements of a set are equal, output and
    gradient are zero. The authors reduce the channels to 256 by a 1x1 convolution first.

    Args:
        in_features: size D of an element.
        num_iterations: number K of iterations, 5 as in the paper.

    Shape:
        - output: :math:`(B, D (D + 1) / 2)`, row by row.

    Example:
        >>> import torch
        >>> CovariancePool(in_features=2, num_iterations=9)(torch.tensor([[[4.0, 0.0], [0.0, 6.0], [2.0, 3.0]]]))
        tensor([[ 0.9058, -1.3587,  2.0381]])
    """

    permutation_invariant = True
    any_set_size = True
    shown = ("in_features", "out_features", "num_iterations")

    def __init__(self, in_features: int, num_iterations: int = 5) -> None:
        super().__init__(in_features, in_features * (in_features + 1) // 2)
        self.num_iterations = self._positive("num_iterations", num_iterations)

    def pool(self, x: Float[Tensor, "B N D"], sets: PaddedSets) -> Float[Tensor, "B M"]:
        """Return the square root of the covariance of each set."""
        with torch.autocast(x.device.type, enabled=False):
            elements = x.to(accumulation_dtype(x.dtype))
            deviations = sets.mask_padding(elements - sets.broadcast(sets.mean(elements)))
            trace = sets.mean(deviations.square()).sum(1)[:, None, None]
            constant = trace == 0
            product = deviations.mT @ deviations  # B D D, N times the covariance
            y = product / product.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].masked_fill(constant, 1)
            z = identity = torch.eye(self.in_features, dtype=y.dtype, device=y.device)
            for _ in range(self.num_iterations):
                factor = 1.5 * identity - 0.5 * (z @ y)
                y, z = y @ factor, factor @ z
            # Masked twice: the gradient of the root of zero is infinite, and 0 times that is NaN.
            y = (trace.masked_fill(constant, 1).sqrt() * y).masked_fill(constant, 0)
        rows, columns = torch.triu_indices(self.in_features, self.in_features, device=y.device)
        return y[:, rows, columns]
