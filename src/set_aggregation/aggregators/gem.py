"""Generalised mean pooling: between average and maximum, by a learned exponent."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.power_mean import power_mean
from set_aggregation.aggregators.set_reduction import SetReduction
from set_aggregation.aggregators.sets import Sets, accumulation_dtype


class GeM(SetReduction):
    r"""Generalised mean of each feature, with a learned exponent p (eq. 3 of `Radenović et al. (2018)
    <https://arxiv.org/abs/1711.02512>`_):

    .. math::
        y_d = \Big( \frac{1}{N} \sum_{i=1}^{N} \max(x_{id}, 0)^p \Big)^{1/p}, \qquad p \ge 1.

    On elements that are not negative, p = 1 is average pooling and :math:`p \to \infty` max pooling. Negative elements
    are set to zero by a ReLU. The authors' code clamps elements to at least 1e-6; this layer keeps zeros. No power
    overflows, and no partial derivative by an element exceeds 1; where all elements are zero, it is zero.

    Args:
        in_features: size D of an element, and of the output.
        p: the initial exponent, 3 as in the authors' code. A learned p below 1, where derivatives are unbounded, is
            replaced by 2 - p.
        per_channel: learn one exponent for each feature instead of one for all.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros.

    Raises:
        ValueError: p below 1.

    Example:
        >>> import torch
        >>> GeM(in_features=2, p=2.0)(torch.tensor([[[1.0, 4.0], [7.0, -4.0]]]))
        tensor([[5.0000, 2.8284]], grad_fn=<MaskedFillBackward0>)
    """

    def __init__(self, in_features: int, p: float = 3.0, per_channel: bool = False) -> None:
        super().__init__(in_features, in_features)
        if not 1 <= p < float("inf"):
            raise ValueError(f"GeM: got p={p}, expected a number of at least 1")
        self.initial_p = p
        self.p = nn.Parameter(torch.empty(in_features if per_channel else 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the exponents to the initial one."""
        nn.init.constant_(self.p, self.initial_p)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the generalised mean of each feature."""
        p = torch.where(self.p < 1, 2 - self.p, self.p).to(accumulation_dtype(x.dtype))
        return power_mean(x.to(p.dtype).relu(), p, sets)

    def extra_repr(self) -> str:
        """Return the sizes and the initial exponent."""
        return f"{super().extra_repr()}, p={self.initial_p}, per_channel={len(self.p) > 1}"
