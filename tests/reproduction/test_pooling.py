"""The comparison of all aggregators: one network, equal parameters."""

import pytest

from reproduction.grid import expand
from reproduction.step_time import measurements, network, time_of_a_step

RUNS = expand("pooling", seeds=[0])
OF_SAN = 66 * 1024 + 1024 + 1024 * 10 + 10


@pytest.mark.slow
def test_parameters_behind_the_backbone_are_those_of_san():
    for run in RUNS:
        model = network(run)
        number = sum(p.numel() for part in (model.aggregator, model.head) for p in part.parameters())
        assert abs(number / OF_SAN - 1) < 0.011  # whole hidden units; flatten's have 4,107 parameters each
        assert run.train_sizes is None or model.aggregator.any_set_size


def test_every_network_of_the_comparison_is_timed():
    timed = [{name: value for name, value in each.items() if name != "experiment"} for each, _ in measurements()]
    assert timed == [
        {"data": run.data, "train_sizes": run.train_sizes, "aggregator": run.aggregator, "size": run.size}
        for run in RUNS
    ]


@pytest.mark.slow
def test_time_of_a_step(monkeypatch):
    """Against average pooling, one step in turn at each size, without the first turn, which warms up."""
    ticks = iter([0.0, 100.0, 100.0, 200.0, *(t for i in range(15) for t in (0.0, 3.0 + i, 10.0, 11.0 + i))])
    monkeypatch.setattr("reproduction.step_time.time.perf_counter", lambda: next(ticks))
    avg, gem = (
        next(each for each in RUNS if (each.aggregator, each.data) == (name, "cifar10") and each.train_sizes)
        for name in ("avg", "gem")
    )
    measured = time_of_a_step(gem, avg, batch_size=2)
    assert measured["milliseconds"] == pytest.approx(1000 * 10 / 5)  # the median turn, of five sizes
    assert measured["ratio"] == pytest.approx(10 / 8)
