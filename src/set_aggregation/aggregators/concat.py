"""Concatenated outputs of several aggregators."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.factory import build_aggregator
from set_aggregation.aggregators.global_avg_pool import GlobalAvgPool
from set_aggregation.aggregators.global_max_pool import GlobalMaxPool
from set_aggregation.aggregators.sets import PaddedSets, RaggedSets


class Concat(Aggregator):
    r"""Concatenation of the outputs of several aggregators; it has the properties that all of them have.

    .. math::
        y = (f_1(x), \dots, f_k(x)).

    Args:
        in_features: size D of an element.
        aggregators: factories that take D: classes, or ``functools.partial(SAN, out_features=128)``. None takes
            :class:`GlobalAvgPool` and :class:`GlobalMaxPool`.
        position_features: size P of a position, given to the aggregators that take it, as in :class:`SAN`.
        set_size: number N of elements, given to the aggregators that need it, as in :class:`Flatten`.

    Shape:
        - output: :math:`(B, M)`, M the sum of the sizes of the outputs.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from set_aggregation.aggregators import SAN, GlobalMaxPool
        >>> pool = Concat(64, [GlobalMaxPool, partial(SAN, out_features=128)])
        >>> pool(torch.randn(8, 36, 64)).shape
        torch.Size([8, 192])
    """

    permutation_invariant = True
    any_set_size = True
    uses_positions = True

    def __init__(
        self,
        in_features: int,
        aggregators: Sequence[Callable[[int], Aggregator]] | None = None,
        position_features: int | None = None,
        set_size: int | None = None,
    ) -> None:
        factories = (GlobalAvgPool, GlobalMaxPool) if aggregators is None else aggregators
        given = ("position_features", position_features), ("set_size", set_size)
        sizes = {name: size for name, size in given if size is not None}
        built = [build_aggregator(factory, in_features, sizes) for factory in factories]
        if not built:
            raise ValueError("Concat: got no aggregators, expected at least one")
        super().__init__(in_features, sum(aggregator.out_features for aggregator in built))
        self.aggregators = nn.ModuleList(built)
        self.permutation_invariant = all(aggregator.permutation_invariant for aggregator in built)
        self.any_set_size = all(aggregator.any_set_size for aggregator in built)
        self.uses_positions = any(aggregator.uses_positions for aggregator in built)
        if self.uses_positions:
            self.position_features = position_features or 0

    def _padded(self, x: Tensor, sets: PaddedSets, positions: Tensor | None) -> Tensor:
        return torch.cat([aggregator(x, sets.mask, positions) for aggregator in self.aggregators], dim=1)

    def _ragged(self, values: Tensor, sets: RaggedSets, positions: Tensor | None) -> Tensor:
        ragged = [aggregator._ragged for aggregator in self.aggregators if isinstance(aggregator, Aggregator)]
        return torch.cat([pool(values, sets, positions) for pool in ragged], dim=1)
