"""Concatenated elements of sets of one size."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.sets import PaddedSets


class FixedSizeAggregator(Aggregator):
    """Aggregator with ``features_per_element`` outputs for each of the N elements, whose order matters."""

    permutation_invariant = False
    any_set_size = False

    def __init__(self, in_features: int, features_per_element: int, set_size: int | None) -> None:
        if set_size is None:
            raise ValueError(
                f"{type(self).__name__}: got set_size=None, expected the number of elements of its sets; for images of "
                "several sizes use SAN, GlobalAvgPool or GlobalMaxPool"
            )
        super().__init__(in_features, self._positive("set_size", set_size) * features_per_element)
        self.set_size = set_size

    def _checked(self, x: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor | None:
        mask = super()._checked(x, mask, positions)
        if x.shape[1] != self.set_size:
            raise ValueError(
                f"{type(self).__name__}: got sets of {x.shape[1]} elements, but this layer was built for "
                f"{self.set_size}; use one image size, or an aggregator for sets of any size, such as SAN or "
                "GlobalAvgPool"
            )
        return mask


class Flatten(FixedSizeAggregator):
    r"""Concatenates the elements of sets of one fixed size N, without loss; masked elements are zeros.

    .. math::
        y = (x_1, x_2, \dots, x_N).

    Args:
        in_features: size D of an element.
        set_size: number N of elements (in a ``SetClassifier``, None takes it from the image size).

    Shape:
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
