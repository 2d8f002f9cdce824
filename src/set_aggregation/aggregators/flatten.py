"""All elements of a set of fixed size, one after the other."""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator


class Flatten(Aggregator):
    r"""Concatenates the elements of sets of one fixed size N.

    .. math::
        y = (x_1, x_2, \dots, x_N).

    It loses nothing and costs the next layer N times the parameters of pooling; the order of the elements
    matters, and so does their number.

    Args:
        in_features: size D of an element.
        set_size: number N of elements (in a ``SetClassifier``, None takes it from the image size).

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, elements masked out count as zeros; positions are ignored.
        - output: :math:`(B, N D)`.

    Example:
        >>> import torch
        >>> Flatten(in_features=2, set_size=2)(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[1., 2., 3., 4.]])
    """

    permutation_invariant: ClassVar[bool] = False
    any_set_size: ClassVar[bool] = False

    def __init__(self, in_features: int, set_size: int | None = None) -> None:
        if set_size is None:
            raise ValueError(
                "Flatten: got set_size=None, expected the number of elements of its sets, which all have one size; for "
                "images of several sizes use SAN, GlobalAvgPool or GlobalMaxPool"
            )
        super().__init__(in_features, self._positive("set_size", set_size) * in_features)
        self.set_size = set_size

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Lays the elements of each set side by side."""
        self._check(x, mask, self.set_size)
        if mask is not None:
            x = x.masked_fill(~mask[..., None], 0)
        return x.flatten(1)
