"""Power-mean SAN: between SAN and max pooling over learned directions."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.element_sum import ElementSum
from set_aggregation.aggregators.gem import power_mean
from set_aggregation.aggregators.log_sum_exp import log_mean_exp
from set_aggregation.aggregators.sets import Sets, accumulation_dtype


class PowerMeanSAN(ElementSum):
    r"""SAN with a power mean over the set, which tends to max pooling of the projections as p grows.

    Remark 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_:

    .. math::
        y_m = \Big( \frac{1}{N} \sum_{i=1}^{N} \mathrm{ReLU}(v_m^\top x_i + b_m)^p \Big)^{1/p}
        \;\longrightarrow\; \max_i \mathrm{ReLU}(v_m^\top x_i + b_m), \qquad p \to \infty.

    At p = 1 it is a :class:`SAN`; with the identity for directions and no bias it is :class:`GeM`. Its relative
    distance from the maximum is at most log(N) / p. For projections of either sign the remark takes "first the exponent
    followed by logarithm after the aggregation", which is log-sum-exp pooling of temperature 1/p:

    .. math::
        y_m = \frac{1}{p} \log \frac{1}{N} \sum_{i=1}^{N} \exp(p \, (v_m^\top x_i + b_m)).

    Args:
        in_features: size D of an element.
        out_features: number M of directions, the size of the output.
        p: the exponent, 1 or more; if it is learned, its initial value, more than 1.
        learn_p: learn one p for all directions, as 1 + softplus of a parameter, which stays above 1.
        transform: ``"relu"`` takes powers of the positive part, ``"exp"`` exponentials and finally the logarithm.
        reduction: ``"mean"``, or ``"sum"`` without the 1/N, as in the remark. The limit is the same.
        position_features: size P of a position, as in :class:`SAN`.

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
        super().__init__(in_features, out_features, reduction, position_features)
        if not 1 <= p < math.inf or (learn_p and p == 1):
            expected = "a number above 1, which a learned p never reaches" if learn_p else "a number of at least 1"
            raise ValueError(f"PowerMeanSAN: got p={p}, expected {expected}")
        if transform not in ("relu", "exp"):
            raise ValueError(f"PowerMeanSAN: got transform={transform!r}, expected 'relu' or 'exp'")
        self.projection = nn.Linear(in_features + self.position_features, out_features)
        self.transform = transform
        self.initial_p = float(p)
        # One entry, since FSDP shards no scalars.
        self.raw_p = nn.Parameter(torch.empty(1)) if learn_p else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set a learned exponent to the initial one."""
        if self.raw_p is not None:
            # The inverse of softplus, in a form that does not overflow.
            nn.init.constant_(self.raw_p, self.initial_p - 1 + math.log(-math.expm1(1 - self.initial_p)))

    @property
    def p(self) -> float | Float[Tensor, "1"]:
        """The exponent."""
        if self.raw_p is None:
            return self.initial_p
        return 1 + F.softplus(self.raw_p.to(accumulation_dtype(self.raw_p.dtype)))

    def pool(self, x: Float[Tensor, "*sets K"], sets: Sets) -> Float[Tensor, "B M"]:
        """Return the power mean of the projections."""
        z, mean = self.projection(x), self.reduction == "mean"
        z = z.to(accumulation_dtype(z.dtype))
        if self.transform == "relu":
            return power_mean(z.relu(), self.p, sets, mean)
        y = log_mean_exp(z, self.p, sets)
        return y if mean else y + sets.sum(torch.ones_like(z)).clamp(min=1).log() / self.p

    def extra_repr(self) -> str:
        """Return the sizes, the exponent, the transform and the reduction."""
        p = f"{self.p:.4g}" if isinstance(self.p, float) else f"{self.p.item():.4g}, learned"
        return f"{super().extra_repr()}, p={p}, transform={self.transform!r}"
