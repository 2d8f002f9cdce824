"""Second-order pooling: the square root of the covariance."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.padded_sets import PaddedSets, wide


class CovariancePool(Aggregator):
    r"""Square root of the covariance matrix of the elements, its upper triangle as a vector.

    iSQRT-COV of `Li et al. (2018) <https://arxiv.org/abs/1712.01034>`_, Section 3: the covariance is divided by
    its trace, its square root approached by the coupled iteration of Newton and Schulz, and scaled back:

    .. math::
        \Sigma = \frac{1}{N} \sum_{i=1}^{N} (x_i - \mu)(x_i - \mu)^\top, \qquad
        Y_0 = \Sigma / \mathrm{tr}\,\Sigma, \quad Z_0 = I,

        Y_k = \tfrac12 Y_{k-1} (3 I - Z_{k-1} Y_{k-1}), \quad Z_k = \tfrac12 (3 I - Z_{k-1} Y_{k-1}) Z_{k-1}, \qquad
        y = \mathrm{triu}(\sqrt{\mathrm{tr}\,\Sigma} \; Y_K).

    It is computed in float32 at least, also under autocast. Where all elements of a set are equal, output and gradient
    are zero. The output grows with the square of D: the authors put a 1x1 convolution to 256 channels in front of it.

    Args:
        in_features: size D of an element.
        num_iterations: number K of iterations; the authors take 5.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D (D + 1) / 2)`, row by row; an empty set gives zeros.

    Raises:
        ValueError: a number below 1.

    Example:
        >>> import torch
        >>> CovariancePool(in_features=2, num_iterations=9)(torch.tensor([[[4.0, 0.0], [0.0, 6.0], [2.0, 3.0]]]))
        tensor([[ 0.9058, -1.3587,  2.0381]])
    """

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True

    def __init__(self, in_features: int, num_iterations: int = 5) -> None:
        super().__init__(in_features, in_features * (in_features + 1) // 2)
        self.num_iterations = self._positive("num_iterations", num_iterations)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Takes the square root of the covariance of each set."""
        self._check(x, mask)
        sets = PaddedSets(mask)
        with torch.autocast(x.device.type, enabled=False):
            elements = sets.only_real(x).to(wide(x.dtype))
            deviations = sets.only_real(elements - sets.spread(sets.mean(elements)))
            trace = sets.mean(deviations.square()).sum(1)[:, None, None]
            varies = trace > 0
            product = deviations.mT @ deviations  # B D D, N times the covariance
            y = product / product.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].where(varies, 1)
            z = identity = torch.eye(self.in_features, dtype=y.dtype, device=y.device)
            for _ in range(self.num_iterations):
                factor = 1.5 * identity - 0.5 * (z @ y)
                y, z = y @ factor, factor @ z
            # Twice: the root of zero is zero, but its gradient is not finite, and 0 times that is NaN.
            y = (trace.where(varies, 1).sqrt() * y).where(varies, 0)
        rows, columns = torch.triu_indices(self.in_features, self.in_features, device=y.device)
        return y[:, rows, columns].to(x.dtype)

    def extra_repr(self) -> str:
        """The sizes and the number of iterations."""
        return f"{super().extra_repr()}, num_iterations={self.num_iterations}"
