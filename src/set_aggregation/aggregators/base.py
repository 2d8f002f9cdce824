"""What every aggregator is and promises."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from set_aggregation.aggregators.ragged_sets import RaggedSets, as_ragged


class Aggregator(nn.Module, ABC):
    """Turns each set of vectors of a batch into one vector.

    A subclass states what it promises in three class attributes, and the contract suite of the tests
    holds it to them:

    - ``permutation_invariant``: the order of the elements does not matter.
    - ``any_set_size``: sets of any number of elements, and masks that differ from row to row, are accepted;
      otherwise the number of elements is fixed when the layer is built.
    - ``uses_positions``: the positions of the elements are part of the input; otherwise they are ignored.

    One whose output is the sum or the mean of what each element gives as a set of its own says so in ``reduction``,
    ``"sum"`` or ``"mean"``, and :meth:`ragged` pads nothing. A subclass for which it is not so writes ``_ragged`` anew.

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
    reduction: str | None = None

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

    def ragged(
        self,
        values: Float[Tensor, "..."],
        offsets: Int[Tensor, "_"] | None = None,
        index: Int[Tensor, "T"] | None = None,
        num_sets: int | None = None,
        positions: Float[Tensor, "T P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        r"""Aggregates sets of different sizes that lie one after the other, as nested tensors and graphs have them.

        The same as ``forward`` of the padded sets, to rounding. What is made of sums, means and maxima is computed
        without padding and, by offsets, compiled to one graph; other aggregators pad to the largest set, for whose size
        the host waits.

        Args:
            values: the T elements of all sets, or a nested tensor of layout ``torch.jagged``, which needs nothing else.
            offsets: set b has the elements from ``offsets[b]`` up to ``offsets[b + 1]`` (PyG calls it ``ptr``).
            index: in place of offsets, the number of the set that each element belongs to, in any order (PyG's
                ``batch``).
            num_sets: number B of sets that ``index`` speaks of; by default up to the largest number in it, for which
                the host waits.
            positions: where each element lies.

        Shape:
            - values: :math:`(T, D)`, or nested :math:`(B, *, D)`; positions: :math:`(T, P)`.
            - offsets: :math:`(B + 1,)`; index: :math:`(T,)`.
            - output: :math:`(B, M)`.

        Raises:
            ValueError: sizes that do not fit, or other than one of offsets, index and a nested tensor. Whether the
                numbers in offsets and index fit is looked at on a CPU only; a device would have to be waited for.

        Example:
            >>> import torch
            >>> from set_aggregation.aggregators import GlobalAvgPool
            >>> values = torch.tensor([[1.0], [3.0], [5.0]])
            >>> GlobalAvgPool(in_features=1).ragged(values, offsets=torch.tensor([0, 2, 3])).tolist()
            [[2.0], [5.0]]
            >>> GlobalAvgPool(in_features=1).ragged(values, index=torch.tensor([0, 1, 0])).tolist()
            [[3.0], [3.0]]
        """
        name = type(self).__name__
        values, sets = as_ragged(name, values, offsets, index, num_sets)
        if values.ndim != 2 or values.shape[1] != self.in_features:
            raise ValueError(f"{name}: got values of shape {tuple(values.shape)}, expected (T, D={self.in_features})")
        if positions is not None and positions.shape[:-1] != values.shape[:1]:
            raise ValueError(
                f"{name}: got positions of shape {tuple(positions.shape)}, expected (T={values.shape[0]}, P)"
            )
        return self._ragged(values, sets, positions)

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Linear`` prints them."""
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _ragged(
        self, values: Float[Tensor, "T D"], sets: RaggedSets, positions: Float[Tensor, "T P"] | None
    ) -> Float[Tensor, "B M"]:
        if self.reduction not in ("sum", "mean"):
            return self(*sets.padded(values, positions))
        alone = self(values[:, None], None, None if positions is None else positions[:, None])  # T M
        return (sets.sum(alone) if self.reduction == "sum" else sets.mean(alone)).to(alone.dtype)

    def _positive(self, name: str, value: int) -> int:
        if value < 1:
            raise ValueError(f"{type(self).__name__}: got {name}={value}, expected at least 1")
        return value

    def _check(self, x: Tensor, mask: Tensor | None, set_size: int | None = None) -> None:
        name = type(self).__name__
        if x.is_nested:
            raise ValueError(f"{name}: got a nested tensor, expected (B, N, D); give it to the method ragged")
        if x.ndim != 3 or x.shape[2] != self.in_features:
            raise ValueError(f"{name}: got x of shape {tuple(x.shape)}, expected (B, N, D={self.in_features})")
        if set_size is not None and x.shape[1] != set_size:
            raise ValueError(
                f"{name}: got sets of {x.shape[1]} elements, but this layer was built for {set_size}; keep to one "
                "image size, or use an aggregator for sets of any size, such as SAN or GlobalAvgPool"
            )
        if mask is not None and mask.shape != x.shape[:2]:
            raise ValueError(f"{name}: got mask of shape {tuple(mask.shape)}, expected (B, N) = {tuple(x.shape[:2])}")
