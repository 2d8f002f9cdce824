"""The tables and the figure that compare all aggregators."""

import pytest

from reproduction.cells import Group
from reproduction.pooling_report import pooling_figure, pooling_groups, pooling_results, pooling_tables
from reproduction.reading import read
from tests.support.paper_lines import line, theory, write

FEW = {"num_train": 10000, "batch_size": 64}
HIDDEN = {**FEW, "hidden_activation": "relu"}
PAPER = Group("paper", 4)


def time(aggregator, ratio, size=1051, train_sizes=None, data="cifar10"):
    measured = {"ratio": ratio, "milliseconds": 1.0}
    settings = {"data": data, "train_sizes": train_sizes, "aggregator": aggregator, "size": size}
    return theory("pooling_time", measured, **settings)


def lines():
    for seed in (0, 1):
        more = {"seed": seed, "epochs": 4}
        yield line("gem", 1051, accuracy=0.7, overrides=HIDDEN, curve=[0.2, 0.4, 0.5, 0.6], **more)
        yield line("san", 1024, accuracy=0.6 + 0.02 * seed, overrides=FEW, **more)
        yield line("pma", 714, accuracy=0.5, overrides=HIDDEN, **more)
        yield line("san", 1024, accuracy=0.4, overrides=FEW, train_sizes="all", data="fashion_mnist", **more)
        yield line("san", 1024, accuracy=0.9, **more)  # of Table 2
    yield line("avg", 1051, epochs=9, overrides=HIDDEN)
    yield line("max", 1051, accuracy=0.1, epochs=4, overrides=HIDDEN)
    yield from (time("max", 4.1), time("gem", 2.0), time("san", 0.5, 1024), time("san", 3.0, 1024, train_sizes="all"))


@pytest.fixture
def results(tmp_path):
    return read(write(tmp_path / "results", lines()))


def test_the_group_with_most_runs_comes_first(results):
    assert pooling_groups(results.runs) == [PAPER, Group("paper", 9)]


def test_rows_are_the_best_first(results):
    first, second = pooling_tables(results, PAPER)
    assert (first.title, second.title) == ("CIFAR-10, images of one size", "Fashion-MNIST, images of several sizes")
    assert [row[0] for row in first.rows] == ["GeM", "SAN", "PMA", "GlobalMaxPool"]
    assert [row[0] for row in second.rows] == ["SAN"]


def test_columns(results):
    gem, san, pma, maximum = pooling_tables(results, PAPER)[0].rows
    assert gem[1:5] == ("1,051", "2,102", "0.7000 ± 0.0000", "2")
    assert san[3] == "0.6100 ± 0.1271"
    assert gem[5] == "+9.00 ± 12.71"  # 0.10 and 0.08
    assert san[5] == "-"
    assert gem[6:] == ("2.00", "0.6000 ± 0.0000", "0.4000 ± 0.0000")  # half of the four epochs
    assert (san[6], san[7]) == ("0.50", san[8])  # who is faster is not trained longer
    assert (pma[6], pma[8]) == ("not run", "not run")
    assert maximum[6:] == ("4.10", "0.1000 ± 0.0083†", "less than an epoch")


def test_the_lines_of_the_comparison_alone(results):
    of_it = pooling_results(results, PAPER)
    assert len(of_it.runs) == 9
    assert all("num_train" in run.settings["overrides"] for run in of_it.runs)
    assert len(of_it.measurements) == 4


def test_figure_has_a_panel_for_each_table(results):
    figure = pooling_figure(results, PAPER)
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == [table.title for table in pooling_tables(results, PAPER)]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["GlobalMaxPool", "PMA", "SAN", "GeM"]  # from below
    assert len(figure.axes[0].containers) == 2  # at equal epochs and at equal time
    assert len(figure.axes[0].containers[1].lines[0].get_xdata()) == 2  # the others have none
