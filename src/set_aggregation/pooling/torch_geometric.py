"""Aggregators as aggregations of PyTorch Geometric."""

from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation

from set_aggregation.aggregators import Aggregator


class AggregatorAdapter(Aggregation):  # type: ignore[misc] # PyG has no types
    """Aggregator for graphs: over the neighbours of each node, or over the nodes of each graph.

    It takes elements in any order by their ``index``, or concatenated sets by ``ptr``, as PyG's own aggregations do.

    Args:
        aggregator: any aggregator for sets of any size, without positions.

    Shape:
        - x: :math:`(T, D)`; index: :math:`(T,)`, or ptr: :math:`(B + 1,)`.
        - output: :math:`(B, M)`.

    Example:
        >>> import torch
        >>> from torch_geometric.nn import SAGEConv
        >>> from set_aggregation.aggregators import SAN
        >>> conv = SAGEConv(16, 32, aggr=AggregatorAdapter(SAN(16, 16)))
        >>> readout = AggregatorAdapter(SAN(32, 64))
        >>> x, edge_index = torch.randn(4, 16), torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> readout(conv(x, edge_index), torch.tensor([0, 0, 1, 1])).shape
        torch.Size([2, 64])
    """

    def __init__(self, aggregator: Aggregator) -> None:
        super().__init__()
        name = type(aggregator).__name__
        if not aggregator.any_set_size:
            raise ValueError(f"AggregatorAdapter: got {name}, for sets of one size; expected one for sets of any size")
        if getattr(aggregator, "position_features", 0) > 0:
            raise ValueError(
                f"AggregatorAdapter: got {name} with position_features={aggregator.position_features}, expected none; "
                "make the positions features of the nodes"
            )
        self.aggregator = aggregator

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        for module in self.aggregator.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()

    def forward(
        self,
        x: Float[Tensor, "T D"],
        index: Int[Tensor, "T"] | None = None,
        ptr: Int[Tensor, "_"] | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        max_num_elements: int | None = None,
    ) -> Float[Tensor, "B M"]:
        """Aggregate each set, as PyG calls it; with ``max_num_elements`` no aggregator waits for the device."""
        self.assert_two_dimensional_input(x, dim)
        if ptr is not None:
            return self.aggregator.ragged(x, ptr, max_set_size=max_num_elements)
        return self.aggregator.ragged(x, index=index, num_sets=dim_size, max_set_size=max_num_elements)

    def __repr__(self) -> str:
        return f"AggregatorAdapter({self.aggregator!r})"
