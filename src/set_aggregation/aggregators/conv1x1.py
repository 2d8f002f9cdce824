"""A 1x1 convolution followed by flattening."""

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.flatten import FixedSizeAggregator
from set_aggregation.aggregators.sets import PaddedSets


class Conv1x1(FixedSizeAggregator):
    r"""Projects elements of sets of one fixed size N to a few channels and concatenates them; masked ones give zeros.

    The "conv-1x1" baseline of Section 4.1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_:

    .. math::
        y = (W x_1 + b, \dots, W x_N + b), \qquad W \in \mathbb{R}^{c \times D}.

    Args:
        in_features: size D of an element.
        channels: number c of channels, one in the text of the paper, 32 in the authors' code.
        set_size: number N of elements (in a ``SetClassifier``, None takes it from the image size).

    Shape:
        - output: :math:`(B, N c)`.

    Example:
        >>> import torch
        >>> Conv1x1(in_features=64, set_size=36)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 36])
    """

    def __init__(self, in_features: int, channels: int = 1, set_size: int | None = None) -> None:
        super().__init__(in_features, self._positive("channels", channels), set_size)
        self.projection = nn.Linear(in_features, channels)

    def pool(self, x: Float[Tensor, "B N D"], sets: PaddedSets) -> Float[Tensor, "B M"]:
        """Project the elements of each set and concatenate them."""
        return sets.mask_padding(self.projection(x)).flatten(1)
