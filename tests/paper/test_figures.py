import pytest
from tests.paper_lines import everything, line, theory, write

from set_aggregation.learning_curves.figure import comparison_figure
from set_aggregation.paper.cells import Group
from set_aggregation.paper.figures import learning_curves, limit_figure, recovery_figure
from set_aggregation.paper.reading import read
from set_aggregation.paper.theory_claim import limits, recoveries

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


def test_recovery_has_a_panel_for_each_kind_of_set(results):
    lines = [
        theory("theorem1", {"error": error}, elements=elements, features=2, aggregator=name, size=size, seed=seed)
        for elements in (2, 3, 5, 8)
        for name, error in (("san", 0.0), ("max", 0.5))
        for size in (8, 64)
        for seed in range(3)
    ]
    figure = recovery_figure(recoveries(results(*lines).measurements))
    seen = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in seen] == [f"{n} elements of 2 features" for n in (2, 3, 5, 8)]
    assert seen[0].lines[1].get_xdata().tolist() == [8, 64]
    assert seen[0].lines[1].get_ydata().tolist() == [0.5, 0.5]
    assert [text.get_text() for text in seen[0].get_xticklabels()] == ["8", "64"]


def test_limit_has_a_line_for_each_seed(results):
    lines = [theory("remark1", {"difference": 1 / p}, p=p, seed=seed) for seed in (0, 1) for p in (100, 1, 10)]
    (axes,) = limit_figure(limits(results(*lines).measurements)).axes
    assert [drawn.get_ydata().tolist() for drawn in axes.lines] == [[1, 0.1, 0.01]] * 2


def test_all_sizes_are_drawn(results):
    runs = results(*everything(seeds=[0])).runs
    rows = learning_curves(runs, Group("paper", 4), "fashion_mnist").rows
    assert [(row.aggregator, len(row.cells)) for row in rows] == [
        *(("max-pool", 6), ("conv-1x1", 6), ("avg-pool", 6), ("SAN", 6), ("flatten", 1)),
    ]
