"""Theorem 1 and Remark 1, measured."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from reproduction import theory
from reproduction.theory import embed, matching_error, recover
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


@pytest.mark.parametrize(("elements", "features"), [(3, 1), (4, 2), (4, 4)])
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
    found = recover(8, 2, aggregator, 64, seed=1)
    assert found["residual"] < FOUND
    assert found["error"] > 0.05


def test_failed_search_tells_by_its_residual():
    found = recover(8, 4, "san", 64, seed=0, starts=2)
    assert found["residual"] > 1e-3
    assert found["starts"] == 2


def test_more_starts_find_no_worse():
    residuals = [recover(8, 4, "san", 64, seed=0, starts=starts)["residual"] for starts in (1, 4)]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[0] > residuals[-1]


def test_larger_size_adds_directions(monkeypatch):
    seen = []

    def note(points, directions, biases, aggregator):
        seen.append((points, directions, biases))
        return embed(points, directions, biases, aggregator)

    monkeypatch.setattr("reproduction.theory.embed", note)
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


def test_each_measurement_is_made_once():
    settings = [settings for settings, _ in theory.measurements()]
    assert len({tuple(sorted(each.items())) for each in settings}) == len(settings)
    assert sum(each["experiment"] == "remark1" for each in settings) == 9 * 5
    assert sum(each["experiment"] == "theorem1" for each in settings) == 3 * 2 * 3 * 6 * 5


def test_settings_are_what_identifies_a_measurement():
    names = {each["experiment"]: set(each) - {"experiment"} for each, _ in theory.measurements()}
    assert names == {"remark1": {"p", "seed"}, "theorem1": {"elements", "features", "aggregator", "size", "seed"}}


@pytest.mark.slow
def test_measurements_measure_what_their_settings_say():
    for settings, measure in theory.measurements():
        if settings == {"experiment": "remark1", "p": 30, "seed": 1}:
            assert measure() == theory.difference_to_max(30.0, seed=1)
        if settings["experiment"] == "theorem1" and settings["size"] == 4 and settings["seed"] == 2:
            assert measure() == theory.recover(4, 2, settings["aggregator"], 4, seed=2)


def test_difference_vanishes_as_the_exponent_grows():
    """Remark 1, with the bound N^(1/p) - 1 on the difference, in parts of the maximum, which is below 6 here."""
    for p in theory.EXPONENTS:
        found = theory.difference_to_max(float(p), seed=0)
        assert 0 < found["difference"] < found["largest"] < 6 * (64 ** (1 / p) - 1)


def test_sum_of_powers_is_that_of_the_remark():
    """At p = 1 the sum of the others is left, and a seed is a set of its own."""
    one, other = (theory.difference_to_max(1.0, seed)["difference"] for seed in (0, 1))
    assert one > 10
    assert not math.isclose(one, other)


def test_random_numbers_of_the_caller_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    theory.difference_to_max(3.0, seed=5)
    assert_close(torch.rand(1), expected)
