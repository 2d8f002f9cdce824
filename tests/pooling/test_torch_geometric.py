"""The aggregators inside PyTorch Geometric, and against its own."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from set_aggregation.aggregators import (
    SAN,
    AttentionPool,
    DeepSets,
    Flatten,
    FSPool,
    GlobalAvgPool,
    GlobalMaxPool,
    LogSumExp,
    PowerMeanSAN,
)

D = 4
X = torch.randn(9, D, generator=torch.Generator().manual_seed(0))
INDEX = torch.tensor([2, 0, 0, 4, 2, 2, 0, 4, 2])  # in disorder, with empty sets between


def phi():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture(scope="module")
def pyg():
    return pytest.importorskip("torch_geometric")  # takes two seconds


@pytest.fixture
def adapter(pyg):
    from set_aggregation.pooling.torch_geometric import AggregatorAdapter

    return AggregatorAdapter


PAIRS = {
    "mean": (GlobalAvgPool(D), "MeanAggregation", {}),
    "max": (GlobalMaxPool(D), "MaxAggregation", {}),
    "DeepSets": (DeepSets(D, 3, phi()), "DeepSetsAggregation", {"local_nn": phi()}),
}


def with_gradients(aggregation, x, **sets):
    x = x.clone().requires_grad_()
    output = aggregation(x, **sets)
    output.square().sum().backward()
    return output, x.grad


FORMS = {
    "disorder": {"index": INDEX},
    "dim_size": {"index": INDEX, "dim_size": 7},
    "order": {"index": INDEX.sort().values},
    "ptr": {"ptr": torch.tensor([0, 3, 3, 7, 9])},
    "both": {"index": INDEX.sort().values, "ptr": torch.tensor([0, 3, 3, 7, 7, 9])},
    "one set": {},
}


@pytest.mark.parametrize(
    ("pair", "form"), [*(("mean", form) for form in FORMS), ("max", "disorder"), ("DeepSets", "disorder")]
)
def test_agrees_with_their_own_layer(pair, form, adapter, pyg):
    (ours, name, arguments), sets = PAIRS[pair], FORMS[form]
    theirs = getattr(pyg.nn.aggr, name)(**arguments)
    assert_close(with_gradients(adapter(ours), X, **sets), with_gradients(theirs, X, **sets))


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"index": INDEX, "dim_size": 3}, "got set numbers from 0 to 4 in index, expected 0 to 2"),
        ({"ptr": torch.tensor([0, 9]), "dim_size": 3}, "invalid 'dim_size'"),
    ],
)
def test_a_wrong_number_of_sets_is_refused(sets, message, adapter):
    with pytest.raises(ValueError, match=message):
        adapter(GlobalAvgPool(D))(X, **sets)


def graphs(pyg):
    """Two graphs, one with a node that has no neighbours."""
    edges = [[[0, 1, 2, 1], [1, 0, 1, 2]], [[0, 3, 1, 3, 0, 1], [3, 0, 3, 1, 1, 0]]]
    generator = torch.Generator().manual_seed(0)
    sizes = zip((3, 5), edges, strict=True)
    data = [pyg.data.Data(torch.randn(n, D, generator=generator), torch.tensor(e)) for n, e in sizes]
    return pyg.data.Batch.from_data_list(data)


class GraphClassifier(nn.Module):
    def __init__(self, pyg, adapter):
        super().__init__()
        torch.manual_seed(0)
        self.conv_1 = pyg.nn.SAGEConv(D, 8, aggr=adapter(SAN(D, D)))
        self.conv_2 = pyg.nn.GINConv(nn.Linear(8, 8), aggr=adapter(AttentionPool(8)))
        self.readout = adapter(SAN(8, 16))
        self.head = nn.Linear(16, 2)

    def forward(self, x, edge_index, batch):
        x = self.conv_1(x, edge_index).relu()
        return self.head(self.readout(self.conv_2(x, edge_index).relu(), batch))


def test_a_graph_network_treats_the_graphs_of_a_batch_alone_and_has_gradients(pyg, adapter):
    model, batch = GraphClassifier(pyg, adapter), graphs(pyg)
    logits = model(batch.x, batch.edge_index, batch.batch)
    alone = [
        model(graph.x, graph.edge_index, torch.zeros(len(graph.x), dtype=torch.long)) for graph in batch.to_data_list()
    ]
    assert_close(logits, torch.cat(alone))
    logits.square().sum().backward()
    assert all((parameter.grad != 0).any() for parameter in model.parameters())


def test_the_neighbours_of_a_node_are_a_set(pyg, adapter):
    batch, san = graphs(pyg), SAN(D, 5)
    messages = pyg.nn.SimpleConv(aggr=adapter(san))(batch.x, batch.edge_index)
    for node, message in enumerate(messages):
        neighbours = batch.edge_index[0, batch.edge_index[1] == node]
        assert_close(message, san(batch.x[None, neighbours])[0])


def test_parameters_are_drawn_anew(adapter):
    aggregation = adapter(LogSumExp(D, 3.0))
    nn.init.zeros_(aggregation.aggregator.log_r)
    san = adapter(PowerMeanSAN(D, 3, learn_p=True))
    before = san.aggregator.projection.weight.clone()
    nn.init.zeros_(san.aggregator.raw_p)
    for one in (aggregation, san):
        one.reset_parameters()
    assert_close(aggregation.aggregator.log_r.exp().item(), 3.0, rtol=1e-6, atol=0)
    assert_close(san.aggregator.p.item(), 3.0, rtol=1e-6, atol=0)
    assert (san.aggregator.projection.weight != before).all()


@pytest.mark.parametrize("sets", [{"index": INDEX}, {"ptr": torch.tensor([0, 4, 9])}], ids=["index", "ptr"])
def test_a_known_maximum_of_elements_changes_nothing(sets, adapter):
    for aggregator in (GlobalAvgPool(D), FSPool(D)):
        aggregation = adapter(aggregator)
        assert_close(aggregation(X, **sets, max_num_elements=6), aggregation(X, **sets))
        with pytest.raises(ValueError, match=r"got a set of . elements, .* max_set_size=3"):
            aggregation(X, **sets, max_num_elements=3)


def test_what_graphs_have_not_is_refused(adapter, unchecked_shapes):
    with pytest.raises(ValueError, match="AggregatorAdapter: got Flatten, for sets of one size"):
        adapter(Flatten(D, set_size=3))
    with pytest.raises(ValueError, match="AggregatorAdapter: got SAN with position_features=2, expected none"):
        adapter(SAN(D, 3, position_features=2))
    with pytest.raises(ValueError, match="two-dimensional"):
        adapter(GlobalAvgPool(D))(X[None], INDEX)
