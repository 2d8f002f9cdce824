import numpy as np
import pytest
import torch
from torch.testing import assert_close

from reproduction.set_recovery import embed, matching_error, recover
from set_aggregation.aggregators import SAN, GlobalAvgPool, GlobalMaxPool

FOUND = 1e-9


@pytest.mark.parametrize("aggregator", ["san", "max", "avg"])
def test_embedding_is_that_of_the_layers(aggregator):
    torch.manual_seed(0)
    san = SAN(3, 16).double().requires_grad_(False)
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    expected = {
        "san": san,
        "max": lambda x: GlobalMaxPool(16)(san.projection(x)),
        "avg": lambda x: GlobalAvgPool(16)(san.projection(x)),
    }[aggregator](x)
    embedding = embed(x[0].numpy(), san.projection.weight.numpy(), san.projection.bias.numpy(), aggregator)
    assert_close(torch.from_numpy(embedding), expected[0])


@pytest.mark.parametrize(("elements", "features"), [(3, 1), (4, 2), (8, 2), (4, 4)])
def test_large_san_determines_the_set(elements, features):
    found = recover(elements, features, "san", 16 * elements * features, seed=1)
    assert found["residual"] < FOUND
    assert found["error"] < FOUND


def test_small_san_does_not():
    found = recover(4, 2, "san", 8, seed=0)
    assert found["residual"] < FOUND
    assert found["error"] > 0.1


@pytest.mark.parametrize("aggregator", ["max", "avg"])
def test_controls_have_other_sets_of_the_same_embedding(aggregator):
    found = recover(16, 2, aggregator, 128, seed=1)
    assert found["residual"] < FOUND
    assert found["error"] > 0.05


def test_failed_search_tells_by_its_residual():
    found = recover(8, 4, "san", 64, seed=0, starts=2)
    assert found["residual"] > 1e-3
    assert found["starts"] == 2


def test_more_starts_find_no_worse():
    residuals = [recover(8, 4, "san", 64, seed=0, starts=starts)["residual"] for starts in range(1, 6)]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[0] > residuals[-1]


def test_larger_size_adds_directions(monkeypatch):
    seen = []

    def note(points, directions, biases, aggregator):
        seen.append((points, directions, biases))
        return embed(points, directions, biases, aggregator)

    monkeypatch.setattr("reproduction.set_recovery.embed", note)
    for size in (5, 9):
        recover(3, 2, "avg", size, seed=0, starts=0)
    for small, large in zip(*seen, strict=True):
        assert np.array_equal(small, large[: len(small)])


def test_chance_is_the_error_of_a_drawn_set():
    assert 0.2 < recover(4, 2, "avg", 8, seed=0, starts=0)["chance"] < 1


def test_matching_error_ignores_the_order_and_finds_the_best_matching():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
    assert matching_error(x, x[[2, 0, 1]]) == 0
    assert matching_error(x, x[[1, 0, 2]] + [[0.3, 0.4], [0, 0], [0, 0]]) == pytest.approx(0.5 / 3)
