"""Generalised mean pooling: between average and maximum, by a learned exponent."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import SetReduction
from set_aggregation.aggregators.sets import Sets, accumulation_dtype


class GeM(SetReduction):
    r"""Generalised mean of each feature, with a learned exponent p (eq. 3 of `Radenović et al. (2018)
    <https://arxiv.org/abs/1711.02512>`_):

    .. math::
        y_d = \Big( \frac{1}{N} \sum_{i=1}^{N} \max(x_{id}, 0)^p \Big)^{1/p}, \qquad p \ge 1.

    On elements that are not negative, p = 1 is average pooling and :math:`p \to \infty` max pooling. The authors' code
    clamps elements to at least 1e-6; this layer keeps zeros. No power overflows, and no derivative by an element
    exceeds 1.

    Args:
        in_features: size D of an element, and of the output.
        p: the initial exponent. A learned p below 1, where derivatives are unbounded, is replaced by 2 - p.
        per_channel: learn one exponent for each feature instead of one for all.

    Example:
        >>> import torch
        >>> GeM(in_features=2, p=2.0)(torch.tensor([[[1.0, 4.0], [7.0, -4.0]]]))
        tensor([[5.0000, 2.8284]], grad_fn=<MaskedFillBackward0>)
    """

    shown = ("in_features", "out_features", "initial_p", "per_channel")

    def __init__(self, in_features: int, p: float = 3.0, per_channel: bool = False) -> None:
        super().__init__(in_features, in_features)
        if not 1 <= p < float("inf"):
            raise ValueError(f"GeM: got p={p}, expected a number of at least 1")
        self.initial_p, self.per_channel = p, per_channel
        self.p = nn.Parameter(torch.empty(in_features if per_channel else 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the exponents to the initial one."""
        nn.init.constant_(self.p, self.initial_p)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the generalised mean of each feature."""
        p = torch.where(self.p < 1, 2 - self.p, self.p).to(accumulation_dtype(x.dtype))
        return power_mean(x.to(p.dtype).relu(), p, sets)


def power_mean(
    x: Float[Tensor, "*sets M"], p: float | Float[Tensor, "_"], sets: Sets, mean: bool = True
) -> Float[Tensor, "B M"]:
    r"""Return :math:`(\frac{1}{N} \sum_i x_i^p)^{1/p}`, or without 1/N, with finite derivatives of every order at 0."""
    x = sets.mask_padding(x)
    # Factored out, so that no power overflows; it cancels out: derivatives of every order may take it for a constant.
    largest = sets.max(x).detach()
    all_zero = largest == 0
    largest = largest.masked_fill(all_zero, 1)
    ratio = x / sets.broadcast(largest)
    # Neither a power nor a root of zero is taken: some of their derivatives are infinite.
    is_zero = ratio == 0
    powers = (ratio.masked_fill(is_zero, 1) ** p).masked_fill(is_zero, 0)
    total = sets.mean(powers) if mean else sets.sum(powers)
    return (largest * total.masked_fill(all_zero, 1) ** (1 / p)).masked_fill(all_zero, 0)
