"""The interface of all aggregators."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx, nn

from set_aggregation.aggregators.sets import Mask, PaddedSets, RaggedSets, as_bool, as_ragged


class Aggregator(nn.Module):
    """Layer that maps each set of vectors of a batch to one vector.

    A subclass implements ``pool(x, sets)`` and declares its properties in class attributes, which the contract suite of
    the tests verifies:

    - ``permutation_invariant``: the output does not depend on the order of the elements.
    - ``any_set_size``: sets may have any number of elements, and masks may differ from row to row; otherwise the number
      of elements is fixed when the layer is built.
    - ``uses_positions``: positions of the elements are part of the input; otherwise they are ignored.

    An aggregator of sums, means and maxima derives from
    :class:`~set_aggregation.aggregators.SetReduction`, which needs no padding for ragged sets.

    The output has the dtype of x. Under autocast it keeps the dtype it was computed in, float32 for sums, since a sum
    may exceed the range of float16.

    ``torch.compile``, ``torch.export``, ``torch.func`` and ``torch.fx`` work, the last with the layer as one node of a
    larger module. TorchScript (``torch.jit.script``) is not supported; use ``torch.export``.

    Args:
        in_features: size D of an element.
        out_features: size M of the output.

    Shape:
        - x: :math:`(B, N, D)`, the elements.
        - mask: :math:`(B, N)`, True or 1 at real elements, False or 0 at padding; by default all are real. Values of an
          integer or float mask are read, for which the host waits for a device.
        - positions: :math:`(N, P)` or :math:`(B, N, P)`, the position of each element.
        - output: :math:`(B, M)`.

    Raises:
        ValueError: a size below 1, an input of sizes other than the layer was built for, or a mask with values other
            than 0 and 1.
    """

    permutation_invariant: bool
    any_set_size: bool
    uses_positions: bool = False

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

        The output equals ``forward`` of the padded sets, to rounding. Aggregators of sums, means and maxima do not pad
        and compile, given offsets, to one graph. Other aggregators pad to the largest set; without ``max_set_size`` the
        host waits for its size.

        Args:
            values: the T elements of all sets, or a nested tensor of layout ``torch.jagged``, which needs no other
                argument.
            offsets: set b consists of the elements ``offsets[b]`` to ``offsets[b + 1] - 1`` (PyG calls it ``ptr``).
            index: instead of offsets, the number of the set of each element, in any order (PyG calls it ``batch``).
            num_sets: number B of sets in ``index``; by default its largest number plus 1, for which the host waits.
            positions: the position of each element.
            max_set_size: an upper bound of the number of elements of a set.

        Shape:
            - values: :math:`(T, D)`, or nested :math:`(B, *, D)`; positions: :math:`(T, P)`.
            - offsets: :math:`(B + 1,)`; index: :math:`(T,)`.
            - output: :math:`(B, M)`.

        Raises:
            ValueError: sizes that do not fit, or not exactly one of offsets, index and a nested tensor. The numbers in
                offsets and index, and sets larger than ``max_set_size``, are checked on a CPU only, since the host
                would wait for another device; there, elements beyond ``max_set_size`` are dropped.

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
            raise ValueError(
                f"{name}: got positions of shape {tuple(positions.shape)}, expected (T={values.shape[0]}, P)"
            )
        return self._cast(self._ragged(values, sets, positions), values)

    def extra_repr(self) -> str:
        """Return the sizes, as ``nn.Linear`` prints them."""
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _padded(self, x: Tensor, sets: PaddedSets, positions: Tensor | None) -> Tensor:
        return self.pool(sets.mask_padding(x), sets)

    def _ragged(self, values: Tensor, sets: RaggedSets, positions: Tensor | None) -> Tensor:
        return self(*sets.padded(values, positions))

    def _traced(self, x: fx.Proxy, *arguments: Any) -> Any:
        """Record this call as one node of a torch.fx graph, as for the layers of torch.nn."""
        target = x.tracer.path_of_module(self)  # type: ignore[attr-defined]
        if not target:
            raise ValueError(
                f"{type(self).__name__}: torch.fx cannot trace this layer alone; trace a module that contains it"
            )
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


class FixedSizeAggregator(Aggregator):
    """Aggregator of sets of one fixed size N, whose order matters.

    Args:
        in_features: size D of an element.
        features_per_element: number of outputs for each element.
        set_size: number N of elements.
    """

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
