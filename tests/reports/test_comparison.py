import os
import random

import pytest

from set_aggregation.reports.comparison import compare
from set_aggregation.reports.finished_run import Skipped, find_runs
from tests.support.run_folders import write_run

REDUCTION = "model.aggregator.init_args.reduction"


@pytest.fixture
def compared(tmp_path):
    """Compares what was written below tmp_path, read in any order."""

    def compare_all():
        runs, skipped = find_runs([tmp_path])
        random.Random(0).shuffle(runs)
        return compare(runs, skipped)

    return compare_all


def test_rows_are_in_the_order_of_the_paper_and_widths_rise(tmp_path, compared):
    names = ["SAN", "LogSumExp", "Conv1x1", "Attention", "GlobalMaxPool", "GlobalAvgPool", "Flatten"]
    for i, name in enumerate(names):
        write_run(tmp_path / f"{i}", name, width=[64, 1024, 128][i % 3])
    comparison = compared()
    expected = ["Flatten", "GlobalAvgPool", "GlobalMaxPool", "Conv1x1", "SAN", "Attention", "LogSumExp"]
    assert [row.label for row in comparison.rows] == expected
    assert comparison.widths == (64, 128, 1024)
    assert comparison.num_runs == 7


def test_data_sets_are_apart(tmp_path, compared):
    for data in ("FashionMNIST", "CIFAR10"):
        for name in ("SAN", "Flatten"):
            write_run(tmp_path / f"{data}{name}", name, data)
    assert [(row.data, row.label) for row in compared().rows] == [
        ("CIFAR10", "Flatten"),
        ("CIFAR10", "SAN"),
        ("FashionMNIST", "Flatten"),
        ("FashionMNIST", "SAN"),
    ]


def test_seeds_of_all_widths_are_one_row(tmp_path, compared):
    for width in (7, 9):  # of which a set does not keep the order
        for seed in (10, 9, 0):
            write_run(tmp_path / f"{width}_{seed}", width=width, seed=seed)
    (row,) = compared().rows
    assert {width: [run.seed for run in runs] for width, runs in row.cells.items()} == {7: [0, 9, 10], 9: [0, 9, 10]}
    assert [run.width for run in row.runs] == [7, 7, 7, 9, 9, 9]
    assert row.label == "SAN"


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        (REDUCTION, ("sum", "mean"), ["SAN, reduction=mean", "SAN, reduction=sum"]),
        ("model.optimizer.init_args.lr", (0.001, 0.01), ["SAN, lr=0.001", "SAN, lr=0.01"]),
        ("trainer.max_epochs", (40, 5), ["SAN, max_epochs=5", "SAN, max_epochs=40"]),
        ("data.init_args.train_sizes", ("all", [[16, 16], [8, 8]]), None),
        ("curves.num_images", ("all", 360), None),
    ],
)
def test_other_settings_are_other_rows(tmp_path, compared, name, values, labels):
    for seed, value in enumerate(values):
        write_run(tmp_path / f"{seed}", seed=seed, settings={name: value})
    comparison = compared()
    assert [len(row.runs) for row in comparison.rows] == [1, 1]
    assert len({row.label for row in comparison.rows}) == 2
    if labels:
        assert [row.label for row in comparison.rows] == labels


def test_only_the_rows_of_that_aggregator_and_data_say_what_differs(tmp_path, compared):
    write_run(tmp_path / "1", settings={REDUCTION: "sum"})
    write_run(tmp_path / "2", settings={REDUCTION: "mean"})
    write_run(tmp_path / "3", "GlobalAvgPool", settings={"trainer.max_epochs": 99})
    write_run(tmp_path / "4", data="Digits", settings={REDUCTION: "mean"})
    assert [row.label for row in compared().rows] == [
        "GlobalAvgPool",
        "SAN, reduction=mean",
        "SAN, reduction=sum",
        "SAN",
    ]


@pytest.mark.parametrize("name", ["run.root", "data.init_args.data_dir", "trainer.enable_progress_bar"])
def test_where_and_how_it_was_watched_does_not_matter(tmp_path, compared, name):
    for seed in (0, 1):
        write_run(tmp_path / f"{seed}", seed=seed, settings={name: f"{seed}"})
    assert [len(row.runs) for row in compared().rows] == [2]


def test_commit_and_versions_do_not_matter(tmp_path, compared):
    for seed in (0, 1):
        write_run(tmp_path / f"{seed}", seed=seed, environment={"commit": f"{seed}"})
    assert [len(row.runs) for row in compared().rows] == [2]


def test_of_repeats_the_newest_is_taken(tmp_path, compared):
    old = write_run(tmp_path / "x" / "2026-01-02_03-04-05_ffffff")
    new = write_run(tmp_path / "x" / "2026-01-02_03-04-06_000000")
    os.utime(old / "results.json", (2e9, 2e9))
    write_run(tmp_path / "x" / "other_seed", seed=1)
    write_run(tmp_path / "x" / "other_width", width=7)
    comparison = compared()
    assert old not in [run.folder for row in comparison.rows for run in row.runs]
    assert comparison.num_runs == 3
    (skipped,) = comparison.skipped
    assert skipped == Skipped(old, f"repeat: has the settings and the seed of x/{new.name}, which is newer")


def test_repeats_of_one_second_are_told_apart_in_the_same_way_each_time(tmp_path):
    for name in "ab":
        folder = write_run(tmp_path / name)
        os.utime(folder / "results.json", (1e9, 1e9))
    runs, _ = find_runs([tmp_path])
    for order in (runs, runs[::-1]):
        assert [run.folder.name for row in compare(order).rows for run in row.runs] == ["a"]


def test_the_folders_left_out_are_sorted(tmp_path):
    skipped = [Skipped(tmp_path / name, "x") for name in "bca"]
    assert [each.folder.name for each in compare([], skipped).skipped] == ["a", "b", "c"]


def test_nothing_is_a_comparison_too():
    comparison = compare([])
    assert (comparison.rows, comparison.widths, comparison.skipped, comparison.num_runs) == ((), (), (), 0)
