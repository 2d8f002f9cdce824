"""A 1x1 convolution, then flatten."""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator


class Conv1x1(Aggregator):
    r"""Projects each element on a few channels, then concatenates, for sets of one fixed size N.

    The "conv-1x1" baseline of Section 4.1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_:

    .. math::
        y = (W x_1 + b, \dots, W x_N + b), \qquad W \in \mathbb{R}^{c \times D}.

    A linear map of single elements is a 1x1 convolution of the feature map. One channel, as in the text, makes
    the output D times smaller than flatten's; the authors' code uses 32.

    Args:
        in_features: size D of an element.
        channels: number c of channels.
        set_size: number N of elements (in a ``SetClassifier``, None takes it from the image size).

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, elements masked out give zeros; positions are ignored.
        - output: :math:`(B, N c)`.

    Example:
        >>> import torch
        >>> Conv1x1(in_features=64, set_size=36)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 36])
    """

    permutation_invariant: ClassVar[bool] = False
    any_set_size: ClassVar[bool] = False

    def __init__(self, in_features: int, channels: int = 1, set_size: int | None = None) -> None:
        if set_size is None:
            raise ValueError(
                "Conv1x1: got set_size=None, expected the number of elements of its sets, which all have one size; for "
                "images of several sizes use SAN, GlobalAvgPool or GlobalMaxPool"
            )
        super().__init__(in_features, self._positive("set_size", set_size) * self._positive("channels", channels))
        self.set_size = set_size
        self.projection = nn.Linear(in_features, channels)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Projects the elements of each set and lays them side by side."""
        self._check(x, mask, self.set_size)
        if mask is None:
            return self.projection(x).flatten(1)
        padding = ~mask[..., None]
        return self.projection(x.masked_fill(padding, 0)).masked_fill(padding, 0).flatten(1)
