"""Log-sum-exp pooling: a smooth maximum."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import SetReduction
from set_aggregation.aggregators.sets import Sets, accumulation_dtype


class LogSumExp(SetReduction):
    r"""Smooth maximum of each feature, with a learned sharpness r.

    The aggregation layer of `Pinheiro and Collobert (2015) <https://arxiv.org/abs/1411.6228>`_, where r is fixed:

    .. math::
        y_d = \frac{1}{r} \log \Big( \frac{1}{N} \sum_{i=1}^{N} \exp(r x_{id}) \Big).

    As :math:`r \to 0` it is average pooling, with full precision, as :math:`r \to \infty` max pooling.

    Args:
        in_features: size D of an element, and of the output.
        r: the initial sharpness.
        learn: learn the logarithm of r; otherwise r is fixed.

    Example:
        >>> import torch
        >>> LogSumExp(in_features=1, r=2.0)(torch.tensor([[[1.0], [2.0], [3.0]]]))
        tensor([[2.5222]], grad_fn=<AddBackward0>)
    """

    shown = ("in_features", "out_features", "initial_r", "learn")

    def __init__(self, in_features: int, r: float = 1.0, learn: bool = True) -> None:
        super().__init__(in_features, in_features)
        if not 0 < r < float("inf"):
            raise ValueError(f"LogSumExp: got r={r}, expected a number above 0")
        self.initial_r, self.learn = r, learn
        self.log_r = nn.Parameter(torch.empty(1), requires_grad=learn)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the sharpness to the initial one."""
        nn.init.constant_(self.log_r, math.log(self.initial_r))

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the smooth maximum of each feature."""
        x = x.to(accumulation_dtype(x.dtype))
        return log_mean_exp(x, self.log_r.to(x.dtype).exp(), sets)


def log_mean_exp(x: Float[Tensor, "*sets M"], r: float | Float[Tensor, "_"], sets: Sets) -> Float[Tensor, "B M"]:
    r"""Return :math:`\frac{1}{r} \log \frac{1}{N} \sum_i \exp(r x_i)`."""
    largest, below = sets.split_maximum(x)
    u = r * below
    # Near u = 0 only exp(u) - 1 keeps the digits in which exponentials differ, far below zero only exp(u) does.
    small = sets.mean(u.expm1())
    near = small.clamp(min=-0.5).log1p()
    far = sets.mean(u.exp()).clamp(min=torch.finfo(x.dtype).tiny).log()
    return largest + torch.where(small > -0.5, near, far) / r
