"""The interface of all aggregators."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx, nn

from set_aggregation.aggregators.sets import Mask, PaddedSets, RaggedSets, Sets, as_bool, as_ragged


class Aggregator(nn.Module):
    """Layer that maps each set of vectors of a batch to one vector.

    A subclass implements ``pool(x, sets)`` and declares its properties in class attributes, which the contract suite of
    the tests verifies:

    - ``permutation_invariant``: the output does not depend on the order of the elements.
    - ``any_set_size``: sets may have any number of elements, and masks may differ from row to row; otherwise the number
      of elements is fixed when the layer is built.
    - ``uses_positions``: positions of the elements are part of the input; otherwise they are ignored.

    An empty set gives zeros. The output has the dtype of x. Under autocast it keeps the dtype it was computed in,
    float32 for sums, since a sum may exceed the range of float16.

    ``torch.compile``, ``torch.export``, ``torch.func`` and ``torch.fx`` work, the last with the layer as one node of a
    larger module. TorchScript (``torch.jit.script``) is not supported; use ``torch.export``.

    Args:
        in_features: size D of an element.
        out_features: size M of the output.

    Shape:
        - x: :math:`(B, N, D)`, the elements.
        - mask: :math:`(B, N)`, True or 1 at real elements; the host waits for a device to read integers or floats.
        - positions: :math:`(N, P)` or :math:`(B, N, P)`, the position of each element.
        - output: :math:`(B, M)`.

    Raises:
        ValueError: an argument outside its range, an input of sizes other than the layer was built for, or a mask with
            values other than 0 and 1.
    """

    permutation_invariant: bool
    any_set_size: bool
    uses_positions: bool = False
    shown: ClassVar[tuple[str, ...]] = ("in_features", "out_features")  # attributes that repr prints

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = self._positive("in_features", in_features)
        self.out_features = self._positive("out_features", out_features)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Mask | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Aggregate each of the B sets."""
        if isinstance(x, fx.Proxy):
            return self._traced(x, mask, positions)
        sets = PaddedSets(self._checked(x, mask, positions))
        return self._cast(self._padded(x, sets, positions), x)

    def pool(self, x: Float[Tensor, "B N D"], sets: PaddedSets) -> Float[Tensor, "B M"]:
        """Aggregate elements whose padding is zero; ``sets`` has the mask and the reductions."""
        raise NotImplementedError(f"{type(self).__name__} implements neither pool nor forward")

    def ragged(
        self,
        values: Float[Tensor, "..."],
        offsets: Int[Tensor, "_"] | None = None,
        index: Int[Tensor, "T"] | None = None,
        num_sets: int | None = None,
        positions: Float[Tensor, "T P"] | None = None,
        max_set_size: int | None = None,
    ) -> Float[Tensor, "B M"]:
        r"""Aggregate concatenated sets of different sizes, as nested tensors and graphs have them.

        The output equals ``forward`` of the padded sets, to rounding. A :class:`SetReduction` does not pad and
        compiles, given offsets, to one graph.

        Args:
            values: the T elements (T, D) of all sets, or a nested tensor (B, \*, D) of layout ``torch.jagged``.
            offsets: set b consists of the elements ``offsets[b]`` to ``offsets[b + 1] - 1`` (PyG calls it ``ptr``).
            index: instead of offsets, the number of the set of each element, in any order (PyG calls it ``batch``).
            num_sets: number B of sets in ``index``; by default its largest number plus 1, for which the host waits.
            positions: the position of each element.
            max_set_size: an upper bound of the size of a set, without which aggregators that pad wait for the device.

        Raises:
            ValueError: sizes that do not fit, or not exactly one of offsets, index and a nested tensor. On a CPU also
                wrong numbers in offsets and index, and larger sets, whose elements beyond ``max_set_size`` another
                device drops without waiting.

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
        values, sets = as_ragged(name, values, offsets, index, num_sets, max_set_size)
        if values.ndim != 2 or values.shape[1] != self.in_features:
            raise ValueError(f"{name}: got values of shape {tuple(values.shape)}, expected (T, D={self.in_features})")
        if positions is not None and positions.shape[:-1] != values.shape[:1]:
            shape = tuple(positions.shape)
            raise ValueError(f"{name}: got positions of shape {shape}, expected (T={values.shape[0]}, P)")
        return self._cast(self._ragged(values, sets, positions), values)

    def extra_repr(self) -> str:
        """Return the arguments, as ``nn.Linear`` prints them."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.shown)

    def _padded(self, x: Tensor, sets: PaddedSets, positions: Tensor | None) -> Tensor:
        return self.pool(sets.mask_padding(x), sets)

    def _ragged(self, values: Tensor, sets: RaggedSets, positions: Tensor | None) -> Tensor:
        return self(*sets.padded(values, positions))

    def _traced(self, x: fx.Proxy, *arguments: Any) -> Any:
        """Record this call as one node of a torch.fx graph, as for the layers of torch.nn."""
        target = x.tracer.path_of_module(self)  # type: ignore[attr-defined]
        if not target:
            name = type(self).__name__
            raise ValueError(f"{name}: torch.fx cannot trace this layer alone; trace a module that contains it")
        return x.tracer.create_proxy("call_module", target, (x, *arguments), {})

    def _cast(self, y: Tensor, x: Tensor) -> Tensor:
        return y if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type) else y.to(x.dtype)

    def _positive(self, name: str, value: int) -> int:
        if value < 1:
            raise ValueError(f"{type(self).__name__}: got {name}={value}, expected at least 1")
        return value

    def _checked(self, x: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor | None:
        """Check the inputs and return the mask as bool."""
        name = type(self).__name__
        if x.is_nested:
            raise ValueError(f"{name}: got a nested tensor, expected (B, N, D); give it to the method ragged")
        if x.ndim != 3 or x.shape[2] != self.in_features:
            raise ValueError(f"{name}: got x of shape {tuple(x.shape)}, expected (B, N, D={self.in_features})")
        if mask is None:
            return None
        if mask.shape != x.shape[:2]:
            raise ValueError(f"{name}: got mask of shape {tuple(mask.shape)}, expected (B, N) = {tuple(x.shape[:2])}")
        return as_bool(name, mask)


class SetReduction(Aggregator):
    """Aggregator composed of the reductions of :class:`~set_aggregation.aggregators.sets.Sets`: sums, means, maxima.

    A subclass implements ``pool`` once, for padded and for ragged sets, and handles neither masks nor padding.
    """

    permutation_invariant = True
    any_set_size = True

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B M"]:
        """Aggregate the elements, (B, N, D) with zeros at padding or (T, D), by ``sets.sum(...)`` and its siblings."""
        raise NotImplementedError(f"{type(self).__name__} does not implement pool")

    def _ragged(self, values: Tensor, sets: RaggedSets, positions: Tensor | None) -> Tensor:
        return self.pool(values, sets)
