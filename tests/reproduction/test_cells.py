import pytest

from reproduction.cells import Group, cell, experiments, groups, one_size, open_points, resnet, several_sizes
from reproduction.reading import read
from tests.support.paper_lines import everything, line, write

PAPER = Group("paper", 3)


@pytest.fixture
def runs(tmp_path):
    return lambda *lines: read(write(tmp_path / "results", lines)).runs


def test_presets_and_epochs_are_never_mixed(runs):
    all_runs = runs(line(seed=2), line(seed=0), line(seed=1, preset="code"), line(seed=3, epochs=40))
    wanted = one_size("cifar10", "san", 1024)
    assert groups(all_runs) == [PAPER, Group("paper", 40), Group("code", 3)]
    assert [list(cell(all_runs, group, wanted)) for group in groups(all_runs)] == [[0, 2], [3], [1]]


@pytest.mark.parametrize(
    "other",
    [
        *({"data": "fashion_mnist"}, {"aggregator": "max"}, {"size": 128}, {"backbone": "resnet56"}),
        *({"train_sizes": "all"}, {"dropout": 0.5}, {"overrides": {"reduction": "mean"}}),
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_cell_has_runs_that_differ_in_the_seed_only(runs, other):
    assert list(cell(runs(line(seed=0), line(seed=1, **other)), PAPER, one_size("cifar10", "san", 1024))) == [0]


def test_a_setting_that_nobody_knows_keeps_runs_apart(runs):
    new = line(seed=1)
    new["settings"]["optimizer"] = "sgd"
    with pytest.raises(ValueError, match="got table2:1 and table2:2, which differ in optimizer and stand for one cell"):
        cell(runs(line(seed=0), new), PAPER, one_size("cifar10", "san", 1024))


def test_flatten_stands_in_the_last_row(runs):
    assert list(cell(runs(line("flatten", 128)), PAPER, one_size("cifar10", "flatten", 4096))) == [0]


def test_other_tables(runs):
    all_runs = runs(
        line(train_sizes="all"), line("original", 64, backbone="resnet56"), line("san", 4096, backbone="resnet56")
    )
    wanted = several_sizes("cifar10", "san", "all"), resnet("original"), resnet("san")
    assert [cell(all_runs, PAPER, each)[0].place for each in wanted] == ["table2:1", "table2:2", "table2:3"]


def test_open_points_are_single_ones(runs):
    all_runs = runs(
        line(overrides={"reduction": "mean"}),
        line("max", overrides={"initialization": "torch"}),
        line(overrides={"initialization": "torch"}),
        line(overrides={"antialias": False}, train_sizes="all"),
        line(overrides={"a": 1, "b": 2}),
        line(overrides={"split": "official"}, preset="code"),
    )
    expected = [(None, {"initialization": "torch"}), (None, {"reduction": "mean"}), ("all", {"antialias": False})]
    assert open_points(all_runs, PAPER) == expected
    wanted = experiments(all_runs, PAPER)["Open points"]  # max has no reduction
    assert [cell(all_runs, PAPER, each).keys() == {0} for each in wanted] == [True, True, True, True, False]


def test_each_width_of_table_3_has_its_cells(runs):
    all_runs = runs(line("san", 128, train_sizes="all"), line("san", 1024, train_sizes="all"), line(epochs=9))
    wanted = experiments(all_runs, PAPER)["Table 3"]
    assert len(wanted) == 24
    assert sum(len(cell(all_runs, PAPER, each)) for each in wanted) == 2


def test_every_run_of_the_grids_has_its_place(tmp_path):
    runs = read(write(tmp_path / "results", everything(seeds=[0]))).runs
    wanted = experiments(runs, Group("paper", 4))
    assert {name: len(cells) for name, cells in wanted.items()} == {
        "Table 2, Figures 3 and 4": 50,
        "Table 3": 12,
        "Table 4": 5,
        "Dropout": 2,
        "Open points": 3,
        "Which pooling": 56,
    }
    cells = [cell(runs, Group("paper", 4), each) for cells in wanted.values() for each in cells]
    assert sorted(run.place for each in cells for run in each.values()) == sorted(run.place for run in runs)
