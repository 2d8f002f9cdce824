"""Gated attention pooling of multiple-instance learning."""

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.attention_pool import SoftmaxPool
from set_aggregation.aggregators.sets import Sets


class GatedAttentionPool(SoftmaxPool):
    r"""Average of the elements, weighted by a small gated network (eq. 9 of `Ilse et al. (2018)
    <https://arxiv.org/abs/1802.04712>`_).

    .. math::
        y = \sum_{i=1}^{N} a_i x_i, \qquad
        a = \mathrm{softmax}_i \big( w^\top (\tanh(V x_i) \odot \mathrm{sigm}(U x_i)) \big), \qquad
        V, U \in \mathbb{R}^{L \times D}.

    The weights show the importance of each element, such as a patch of a slide in multiple-instance learning.

    Args:
        in_features: size D of an element, and of the output.
        hidden_features: size L of the hidden layer, 128 in the authors' code.

    Example:
        >>> import torch
        >>> pool = GatedAttentionPool(in_features=64)
        >>> y, weights = pool(torch.randn(8, 36, 64), return_weights=True)
        >>> y.shape, weights.shape
        (torch.Size([8, 64]), torch.Size([8, 36]))
    """

    def __init__(self, in_features: int, hidden_features: int = 128) -> None:
        super().__init__(in_features)
        self._positive("hidden_features", hidden_features)
        self.projection = nn.Linear(in_features, hidden_features, bias=False)  # V
        self.gate = nn.Linear(in_features, hidden_features, bias=False)  # U
        self.score = nn.Linear(hidden_features, 1, bias=False)  # w

    def scores(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "*sets 1"]:
        """Return the outputs of the gated network."""
        return self.score(self.projection(x).tanh() * self.gate(x).sigmoid())
