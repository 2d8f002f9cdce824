"""Generalised mean pooling: from average to maximum, as far as a learned exponent says."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.padded_sets import wide
from set_aggregation.aggregators.set_reduction import SetReduction, Sets


class GeM(SetReduction):
    r"""Generalised mean of each feature, with a learned exponent p (eq. 3 of `Radenović et al. (2018)
    <https://arxiv.org/abs/1711.02512>`_):

    .. math::
        y_d = \Big( \frac{1}{N} \sum_{i=1}^{N} \max(x_{id}, 0)^p \Big)^{1/p}, \qquad p \ge 1.

    On elements that are not negative, p = 1 is average pooling and :math:`p \to \infty` max pooling. A negative element
    counts as zero, as behind a ReLU. The authors' code lifts all below 1e-6 to 1e-6; here zeros stay zeros. The powers
    are those of :math:`x_{id} / \max_i x_{id}`, so that none overflows, and no partial derivative by an element exceeds
    1; where all elements are zero, it is zero.

    Args:
        in_features: size D of an element, and of the output.
        p: the exponent to start from, 3 as the authors do. Below 1, where derivatives have no bound, the layer takes
            2 - p in place of p.
        per_channel: learn an exponent for each feature, in place of one for all.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros.

    Raises:
        ValueError: p below 1.

    Example:
        >>> import torch
        >>> GeM(in_features=2, p=2.0)(torch.tensor([[[1.0, 4.0], [7.0, -4.0]]]))
        tensor([[5.0000, 2.8284]], grad_fn=<MulBackward0>)
    """

    def __init__(self, in_features: int, p: float = 3.0, per_channel: bool = False) -> None:
        super().__init__(in_features, in_features)
        if not 1 <= p < float("inf"):
            raise ValueError(f"GeM: got p={p}, expected a number of at least 1")
        self.initial_p = p
        self.p = nn.Parameter(torch.empty(in_features if per_channel else 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the exponents to the one to start from."""
        nn.init.constant_(self.p, self.initial_p)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Takes the generalised mean of each feature."""
        p = torch.where(self.p < 1, 2 - self.p, self.p).to(wide(x.dtype))
        x = x.to(p.dtype).relu()
        largest = sets.max(x).detach()  # cancels out
        is_zero = largest == 0
        largest = largest.masked_fill(is_zero, 1)
        mean = sets.mean((x / sets.spread(largest)) ** p)  # from 1 / N to 1, or 0
        return largest * (mean.masked_fill(is_zero, 1) ** (1 / p)).masked_fill(is_zero, 0)

    def extra_repr(self) -> str:
        """The sizes and the exponent to start from."""
        return f"{super().extra_repr()}, p={self.initial_p}, per_channel={len(self.p) > 1}"
