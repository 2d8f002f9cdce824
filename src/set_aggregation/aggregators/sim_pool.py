"""SimPool: attention pooling whose query is the average of the set."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.attention_pool import SoftmaxPool
from set_aggregation.aggregators.sets import Sets, accumulation_dtype


class SimPool(SoftmaxPool):
    r"""Attention pooling with the average for a query and a power mean over the values (Section 3.3 of `Psomas et al.
    (2023) <https://arxiv.org/abs/2309.06891>`_).

    .. math::
        y_d = \Big( \sum_{i=1}^{N} a_i v_{id}^\gamma \Big)^{1/\gamma}, \qquad
        a = \mathrm{softmax}_i \Big( \frac{(W_Q \mu)^\top W_K \bar{x}_i}{\sqrt D} \Big), \qquad
        v = \bar{x} - \min_{i,d} \bar{x}_{id} + 10^{-6},

    where :math:`\mu` is the average of the elements and :math:`\bar{x}_i = \mathrm{LN}(x_i)`. The minimum is that of
    each set; in the authors' code it is that of the batch, so that the output for a set depends on the others.

    Args:
        in_features: size D of an element, and of the output.
        gamma: the exponent, at least 1; the authors take 2 for convolutional networks, 1.25 for vision transformers.

    Example:
        >>> import torch
        >>> SimPool(in_features=64)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 64])
    """

    shown = ("in_features", "out_features", "gamma")

    def __init__(self, in_features: int, gamma: float = 2.0) -> None:
        super().__init__(in_features)
        if not 1 <= gamma < math.inf:
            raise ValueError(f"SimPool: got gamma={gamma}, expected a number of at least 1")
        self.gamma = gamma
        self.norm = nn.LayerNorm(in_features, eps=1e-6)
        self.query_projection = nn.Linear(in_features, in_features, bias=False)
        self.key_projection = nn.Linear(in_features, in_features, bias=False)

    def scores(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "*sets 1"]:
        """Return the scaled dot products of the projected average and the projected elements."""
        query = self.query_projection(sets.mean(x).to(x.dtype))  # B D
        keys = self.key_projection(self.norm(x))
        dtype = accumulation_dtype(keys.dtype)
        products = sets.broadcast(query).to(dtype) * keys.to(dtype)
        return products.sum(-1, keepdim=True) / math.sqrt(self.in_features)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the weighted power mean of the normalised elements, measured from their minimum."""
        normed = self.norm(x)
        normed = normed.to(accumulation_dtype(normed.dtype))
        minimum = -sets.max(-normed).amax(1, keepdim=True)  # B 1
        # Padding may be below the minimum; a power of a negative number is NaN.
        values = sets.mask_padding(normed - sets.broadcast(minimum)) + 1e-6
        total = sets.sum(sets.softmax(self.scores(x, sets)) * values**self.gamma)
        empty = total == 0
        return (total.masked_fill(empty, 1) ** (1 / self.gamma)).masked_fill(empty, 0)
