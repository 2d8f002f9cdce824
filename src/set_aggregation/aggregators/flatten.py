"""Concatenated elements of sets of one size."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import FixedSizeAggregator
from set_aggregation.aggregators.sets import PaddedSets


class Flatten(FixedSizeAggregator):
    r"""Concatenates the elements of sets of one fixed size N.

    .. math::
        y = (x_1, x_2, \dots, x_N).

    No information is lost, and the next layer has N times the parameters that it has after average pooling. The order
    of the elements matters.

    Args:
        in_features: size D of an element.
        set_size: number N of elements (in a ``SetClassifier``, None takes it from the image size).

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, masked elements are zeros; positions are ignored.
        - output: :math:`(B, N D)`.

    Example:
        >>> import torch
        >>> Flatten(in_features=2, set_size=2)(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[1., 2., 3., 4.]])
    """

    def __init__(self, in_features: int, set_size: int | None = None) -> None:
        super().__init__(in_features, in_features, set_size)

    def pool(self, x: Float[Tensor, "B N D"], sets: PaddedSets) -> Float[Tensor, "B M"]:
        """Concatenate the elements of each set."""
        return x.flatten(1)
