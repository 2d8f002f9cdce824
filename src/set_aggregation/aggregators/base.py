"""What every aggregator is and promises."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn


class Aggregator(nn.Module, ABC):
    """Turns each set of vectors of a batch into one vector.

    A subclass states what it promises in three class attributes, and the contract suite of the tests
    holds it to them:

    - ``permutation_invariant``: the order of the elements does not matter.
    - ``any_set_size``: sets of any number of elements, and masks that differ from row to row, are accepted;
      otherwise the number of elements is fixed when the layer is built.
    - ``uses_positions``: the positions of the elements are part of the input; otherwise they are ignored.

    Args:
        in_features: size D of an element.
        out_features: size M of the output.

    Shape:
        - x: :math:`(B, N, D)`, the elements.
        - mask: :math:`(B, N)`, True at real elements, False at padding; without it all are real.
        - positions: :math:`(N, P)` or :math:`(B, N, P)`, where each element lies.
        - output: :math:`(B, M)`.

    Raises:
        ValueError: a size below 1, or an input whose sizes are not those the layer was built for.
    """

    permutation_invariant: ClassVar[bool]
    any_set_size: ClassVar[bool]
    uses_positions: ClassVar[bool] = False

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = self._positive("in_features", in_features)
        self.out_features = self._positive("out_features", out_features)

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Aggregates each of the B sets."""

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Linear`` prints them."""
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _positive(self, name: str, value: int) -> int:
        if value < 1:
            raise ValueError(f"{type(self).__name__}: got {name}={value}, expected at least 1")
        return value

    def _check(self, x: Tensor, mask: Tensor | None, set_size: int | None = None) -> None:
        name = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.in_features:
            raise ValueError(f"{name}: got x of shape {tuple(x.shape)}, expected (B, N, D={self.in_features})")
        if set_size is not None and x.shape[1] != set_size:
            raise ValueError(
                f"{name}: got sets of {x.shape[1]} elements, but this layer was built for {set_size}; keep to one "
                "image size, or use an aggregator for sets of any size, such as SAN or GlobalAvgPool"
            )
        if mask is not None and mask.shape != x.shape[:2]:
            raise ValueError(f"{name}: got mask of shape {tuple(mask.shape)}, expected (B, N) = {tuple(x.shape[:2])}")
