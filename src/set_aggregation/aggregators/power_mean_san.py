"""Power-mean SAN: between SAN and max pooling over learned directions."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.element_sum import with_positions
from set_aggregation.aggregators.ragged_sets import RaggedSets
from set_aggregation.aggregators.san import SAN


class PowerMeanSAN(SAN):
    r"""SAN with a power mean over the set, which tends to max pooling of the projections as p grows.

    Remark 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_:

    .. math::
        y_m = \Big( \frac{1}{N} \sum_{i=1}^{N} \mathrm{ReLU}(v_m^\top x_i + b_m)^p \Big)^{1/p}
        \;\longrightarrow\; \max_i \mathrm{ReLU}(v_m^\top x_i + b_m), \qquad p \to \infty.

    At p = 1 it is a :class:`SAN`. With M = D, the identity for directions and no bias it is the generalized-mean
    (GeM) pooling of `Radenović et al. (2018) <https://arxiv.org/abs/1711.02512>`_. The distance to the maximum is at
    most log(N) / p of it. A learned p finds its own place between the two.

    For projections of either sign the remark takes "first the exponent followed by logarithm after the aggregation",
    which makes log-sum-exp pooling of temperature 1/p:

    .. math::
        y_m = \frac{1}{p} \log \frac{1}{N} \sum_{i=1}^{N} \exp(p \, (v_m^\top x_i + b_m)).

    The largest element is factored out of the sums, so that they stay finite at any p, and powers are taken in float32
    at least.

    Args:
        in_features: size D of an element.
        out_features: number M of directions, the size of the output.
        p: the exponent, 1 or more; where it is learned, what it starts from, more than 1.
        learn_p: learn one p for all directions, as 1 + softplus of a parameter: it stays above 1.
        transform: ``"relu"`` cuts the projections, ``"exp"`` takes the exponential and, in the end, the logarithm.
        reduction: ``"mean"``, or ``"sum"`` without the 1/N, as in the remark. The limit is the same.
        position_features: size P of a position, as in :class:`SAN`.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements.
        - positions: :math:`(N, P)` or :math:`(B, N, P)`.
        - output: :math:`(B, M)`; an empty set gives zeros.

    Raises:
        ValueError: p below 1, or not above 1 where it is learned; an unknown transform or reduction.

    Example:
        >>> import torch
        >>> san = PowerMeanSAN(in_features=64, out_features=512, p=3.0, learn_p=True)
        >>> san(torch.randn(8, 36, 64)).shape
        torch.Size([8, 512])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: float = 3.0,
        learn_p: bool = False,
        transform: Literal["relu", "exp"] = "relu",
        reduction: Literal["sum", "mean"] = "mean",
        position_features: int | None = None,
    ) -> None:
        super().__init__(in_features, out_features, reduction, position_features=position_features)
        if not 1 <= p < math.inf or (learn_p and p == 1):
            expected = "a number above 1, which a learned p never reaches" if learn_p else "a number of at least 1"
            raise ValueError(f"PowerMeanSAN: got p={p}, expected {expected}")
        if transform not in ("relu", "exp"):
            raise ValueError(f"PowerMeanSAN: got transform={transform!r}, expected 'relu' or 'exp'")
        self.transform = transform
        self.fixed_p = None if learn_p else float(p)
        if learn_p:
            # The inverse of softplus, in a form that does not overflow; one entry, since FSDP shards no scalars.
            self.raw_p = nn.Parameter(torch.tensor([p - 1 + math.log(-math.expm1(1 - p))]))

    @property
    def p(self) -> float | Float[Tensor, "1"]:
        """The exponent."""
        if self.fixed_p is not None:
            return self.fixed_p
        return 1 + F.softplus(_at_least_float32(self.raw_p))

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Takes the power mean of the projections of the real elements of each set."""
        self._check(x, mask)
        self._check_positions(x, positions)
        x = with_positions(x, positions)
        padding = None if mask is None else ~mask[..., None]
        if padding is not None:
            x = x.masked_fill(padding, 0)
        z, p = _at_least_float32(self.projection(x)), self.p  # B N M, one number
        if x.shape[1] == 0:
            return (z.sum(1) * p).to(x.dtype)  # zeros that keep their place in the graph
        num: int | Tensor = 1
        if self.reduction == "mean":
            num = x.shape[1] if mask is None else mask.sum(1, keepdim=True).clamp(min=1)
        y = _power_mean(z.relu(), p, padding, num) if self.transform == "relu" else _log_mean_exp(z, p, padding, num)
        return y.to(x.dtype)

    def _ragged(
        self, values: Float[Tensor, "T D"], sets: RaggedSets, positions: Float[Tensor, "T P"] | None
    ) -> Float[Tensor, "B M"]:
        return self(*sets.padded(values, positions))  # no sum of what each element gives alone, as SAN is

    def extra_repr(self) -> str:
        """The sizes, the exponent, the transform and the reduction."""
        p = f"{self.p:.4g}" if isinstance(self.p, float) else f"{self.p.item():.4g}, learned"
        return f"{super().extra_repr()}, p={p}, transform={self.transform!r}"


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


# What is factored out may count as a constant, since the result does not depend on it.


def _power_mean(z: Tensor, p: float | Tensor, padding: Tensor | None, num: int | Tensor) -> Tensor:
    if padding is not None:
        z = z.masked_fill(padding, 0)
    largest = z.detach().amax(1, keepdim=True)  # B 1 M
    total = ((z / largest.where(largest > 0, 1)) ** p).sum(1)  # B M
    largest = largest.squeeze(1)
    # Where nothing is active, no root of zero is taken: its slope is infinite.
    return largest * (total / num).where(largest > 0, 1) ** (1 / p)


def _log_mean_exp(z: Tensor, p: float | Tensor, padding: Tensor | None, num: int | Tensor) -> Tensor:
    if padding is not None:
        z = z.masked_fill(padding, torch.finfo(z.dtype).min)
    largest = z.detach().amax(1, keepdim=True)  # B 1 M
    total = ((z - largest) * p).exp().sum(1)  # B M
    y = largest.squeeze(1) + (total / num).log() / p
    return y if padding is None else y.masked_fill(padding.all(1), 0)
