import pytest

from reproduction.cells import Group
from reproduction.figures import learning_curves
from reproduction.reading import read
from set_aggregation.reports.comparison_figure import comparison_figure
from tests.support.paper_lines import everything, line, write

PAPER = Group("paper", 3)


@pytest.fixture
def results(tmp_path):
    return lambda *lines: read(write(tmp_path / "results", lines))


def test_each_run_has_its_panel(results):
    lines = [line("max", 128, seed) for seed in (0, 1)] + [line("flatten", 128), line(preset="code"), line(epochs=9)]
    comparison = learning_curves(results(*lines, line(data="fashion_mnist")).runs, PAPER, "cifar10")
    assert [(row.aggregator, {size: len(runs) for size, runs in row.cells.items()}) for row in comparison.rows] == [
        ("max-pool", {128: 2}),
        ("flatten", {4096: 1}),
    ]


def test_lines_are_the_mean_over_the_seeds(results):
    runs = results(line(curve=[0.1, 0.5], gap=0.25, seed=0), line(curve=[0.3, 0.7], gap=0.25, seed=1)).runs
    figure = comparison_figure(learning_curves(runs, PAPER, "cifar10"))
    (axes,) = figure.axes
    train, test = (drawn.get_ydata().tolist() for drawn in axes.lines)
    assert test == pytest.approx([0.2, 0.6])
    assert train == pytest.approx([0.45, 0.85])


def test_runs_without_curves_are_not_drawn(results):
    assert learning_curves(results({**line(), "curves": []}).runs, PAPER, "cifar10").rows == ()


def test_all_sizes_are_drawn(results):
    runs = results(*everything(seeds=[0])).runs
    rows = learning_curves(runs, Group("paper", 4), "fashion_mnist").rows
    assert [(row.aggregator, len(row.cells)) for row in rows] == [
        *(("max-pool", 6), ("conv-1x1", 6), ("avg-pool", 6), ("SAN", 6), ("flatten", 1)),
    ]
