"""The claims and their verdicts."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reproduction.claims import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDED,
    Difference,
    Judgement,
    at_sizes,
    epochs_to,
    judge,
    select,
    t_interval,
)
from reproduction.paper_numbers import CLAIMS, TABLE2_SIZES
from reproduction.records import read
from tests.support.paper_lines import everything, line, theory, write


def judged(folder, lines):
    """Return the first judgement of each claim."""
    results = read(write(folder, lines))
    found = judge(results.runs, results.measurements)
    return {each.number: each for each in reversed(found)}


def table2(accuracies, sizes=TABLE2_SIZES, **more):
    return [line(name, size, 0, accuracy, **more) for size in sizes for name, accuracy in accuracies.items()]


def difference(cells, null=0.0):
    """Return a difference with these values: a list for each cell, one value for each seed."""
    index = [(seed, cell) for cell, values in enumerate(cells) for seed, _ in enumerate(values)]
    values = [value for each in cells for value in each]
    series = pd.Series(values, pd.MultiIndex.from_tuples(index, names=["seed", "cell"]), dtype=float)
    return Difference("a less b", series, frozenset(), null)


@pytest.mark.parametrize(
    ("cells", "null", "verdict"),
    [
        ([[1.0], [1.1], [0.9]], 0.0, SUPPORTED),
        ([[-1.0], [-1.1], [-0.9]], 0.0, CONTRADICTED),
        ([[-1.0], [-1.1], [-0.9]], -1.5, SUPPORTED),
        ([[1.0], [-1.0], [0.5]], 0.0, UNDECIDED),
        ([[1.0], [1.0]], 0.0, UNDECIDED),  # too few cells, and one seed
        ([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9]], 0.0, SUPPORTED),  # by the seeds
        ([[1.0, 1.1, 0.9], [2.0]], 0.0, UNDECIDED),  # no second seed in all cells
        ([[5.0, -5.0, 1.0], [5.0, -5.0, 1.2], [5.0, -5.0, 0.8]], 0.0, SUPPORTED),  # three cells, near 0.33
        ([], 0.0, UNDECIDED),
    ],
)
def test_verdict_on_a_difference(cells, null, verdict):
    assert difference(cells, null).verdict == verdict


def test_a_cell_is_the_mean_over_its_seeds_and_the_seeds_are_those_of_all_cells():
    each = difference([[1.0, 3.0], [4.0], [6.0, 8.0]])
    assert (each.over_cells.mean, each.over_cells.number) == (np.mean([2.0, 4.0, 7.0]), 3)
    assert each.over_seeds.number == 1
    assert difference([[1.0, 3.0], [6.0, 8.0]]).over_seeds.mean == 4.5


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((SUPPORTED, SUPPORTED), SUPPORTED),
        ((SUPPORTED, UNDECIDED), UNDECIDED),
        ((UNDECIDED, CONTRADICTED), CONTRADICTED),
    ],
)
def test_verdict_on_a_claim(verdicts, expected):
    signs = {SUPPORTED: 1.0, CONTRADICTED: -1.0}
    parts = [difference([[signs[each]]] * 3 if each in signs else [[1.0]]) for each in verdicts]
    assert Judgement(1, "paper", 15, parts).verdict == expected


def test_everything_as_the_paper_claims_it(tmp_path):
    found = judged(tmp_path, everything())
    assert {number: each.verdict for number, each in found.items()} == dict.fromkeys(range(1, 9), SUPPORTED)
    assert found[1].num_runs == 3 * 6 * 3
    assert len(CLAIMS) == 8


def test_nothing_run(tmp_path):
    found = judged(tmp_path, [])
    assert {each.verdict for each in found.values()} == {UNDECIDED}
    assert {each.num_runs for each in found.values()} == {0}


def test_other_presets_and_epochs_are_other_rows(tmp_path):
    lines = [
        run
        for kind in ({"epochs": 3}, {"epochs": 5}, {"epochs": 3, "preset": "modern"})
        for run in table2({"san": 0.7, "avg": 0.6, "max": 0.65}, **kind)
    ]
    results = read(write(tmp_path, lines))
    rows = [
        (each.preset, each.epochs, each.num_runs)
        for each in judge(results.runs, results.measurements)
        if each.number == 1
    ]
    assert rows == [("paper", 3, 18), ("paper", 5, 18), ("modern", 3, 18)]


def test_san_behind_max_contradicts_claim_1(tmp_path):
    found = judged(tmp_path, table2({"san": 0.7, "avg": 0.6, "max": 0.75}))
    assert [each.verdict for each in found[1].differences] == [SUPPORTED, CONTRADICTED]
    assert [each.over_cells.mean for each in found[1].differences] == pytest.approx([0.1, -0.05])
    assert [each.paper for each in found[1].differences] == pytest.approx([0.07, 0.0488], abs=1e-4)


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.69, SUPPORTED), (0.67, CONTRADICTED)])
def test_as_good_as_flatten_is_within_the_margin(tmp_path, accuracy, verdict):
    lines = table2({"san": accuracy}, data="fashion_mnist")
    lines.append(line("flatten", 128, 0, 0.70, data="fashion_mnist", parameters=5000))
    found = judged(tmp_path, lines)[2]
    assert found.verdict == verdict
    assert found.differences[0].over_cells.number == len(TABLE2_SIZES)


def test_san_with_more_parameters_than_flatten_does_not_count(tmp_path):
    lines = table2({"san": 0.70}, data="fashion_mnist")  # as many parameters as the size
    lines.append(line("flatten", 128, 0, 0.70, data="fashion_mnist", parameters=2000))
    cells = judged(tmp_path, lines)[2].differences[0].values.index.get_level_values("size")
    assert list(cells) == [128, 256, 512, 1024]


def test_overfitting_is_the_gap_after_the_last_epoch(tmp_path):
    gaps = {"max": 0.1, "conv1x1": 0.02, "san": 0.05, "avg": 0.01}
    lines = [line(name, size, 0, 0.7, gap=gap) for size in TABLE2_SIZES for name, gap in gaps.items()]
    found = judged(tmp_path, lines)[3]
    assert [each.over_cells.mean for each in found.differences] == pytest.approx([0.05, -0.03, 0.04])
    assert found.verdict == CONTRADICTED


def test_convergence_is_the_number_of_epochs_to_90_percent(tmp_path):
    curves = {"san": [0.8, 0.9, 0.91], "avg": [0.7, 0.8, 0.85]}  # avg never
    lines = [
        line(name, size, 0, 0.9, curve=curve, data="fashion_mnist")
        for size in TABLE2_SIZES
        for name, curve in curves.items()
    ]
    (found,) = judged(tmp_path, lines)[4].differences
    assert (found.over_cells.mean, found.verdict, found.unit) == (2.0, SUPPORTED, "epochs")


def test_epochs_to_a_level_that_the_first_epoch_reaches():
    assert epochs_to(0.5, [{"epoch": 1, "test_accuracy": 0.8}]) == 1


def test_dropout_is_decided_by_seeds(tmp_path):
    lines = []
    for seed in range(3):
        for data in ("cifar10", "fashion_mnist"):
            lines += [
                line("flatten", 128, seed, 0.7 + 0.001 * seed, data=data, dropout=0.5),
                line("san", 4096, seed, 0.7, data=data),
            ]
    assert judged(tmp_path / "three", lines)[5].verdict == SUPPORTED
    assert judged(tmp_path / "one", lines[:4])[5].verdict == UNDECIDED


def test_lead_at_each_resolution(tmp_path):
    def several(name, seed, train_sizes, lead):
        sizes = {f"{side}x{side}": 0.5 + lead for side in (16, 24, 32)}
        return line(name, 1024, seed, 0.5, train_sizes=train_sizes, per_size=sizes)

    lines = [several(name, 0, "all", lead) for name, lead in (("san", 0.02), ("max", 0.03), ("avg", 0.0))]
    lines += [several(name, 0, "original", lead) for name, lead in (("san", 0.05), ("max", 0.0), ("avg", 0.0))]
    over_max, over_avg, change = judged(tmp_path, lines)[6].differences
    assert over_max.over_cells.mean == pytest.approx(0.02)
    assert over_avg.over_cells.mean == pytest.approx(0.035)
    assert (change.over_cells.mean, change.over_cells.number) == (pytest.approx(0.045), 6)
    assert over_avg.verdict == SUPPORTED


def test_resnet_is_compared_to_the_original_by_seeds(tmp_path):
    errors = {"original": 0.08, "avg": 0.05, "san": 0.07}
    lines = [
        line(name, 64 if name == "original" else 4096, seed, 1 - error, backbone="resnet56", preset="short")
        for name, error in errors.items()
        for seed in range(2)
    ]
    found = judged(tmp_path / "two", lines)[7]
    assert (found.preset, found.num_runs, found.verdict) == ("short", 4, SUPPORTED)
    assert found.differences[0].over_seeds.mean == pytest.approx(0.01)
    assert judged(tmp_path / "one", lines[::2])[7].verdict == UNDECIDED


def test_another_set_of_the_same_embedding_contradicts_theorem_1(tmp_path):
    def search(size, error, residual, seed):
        return theory(
            "theorem1",
            {"error": error, "residual": residual},
            elements=4,
            features=2,
            aggregator="san",
            size=size,
            seed=seed,
        )

    smaller = [search(8, 0.3, 1e-9, seed) for seed in range(3)]
    failed = [search(64, 0.3, 1e-2, 9)]
    found = judged(tmp_path / "same", [*smaller, *failed, *(search(64, 1e-9, 1e-9, seed) for seed in range(3))])[
        8
    ].differences[0]
    assert (found.over_cells.mean, found.verdict) == (100, SUPPORTED)
    found = judged(tmp_path / "other", [*smaller, *failed, *(search(64, 0.3, 1e-9, seed) for seed in range(3))])[
        8
    ].differences[0]
    assert (found.over_cells.mean, found.verdict) == (0, CONTRADICTED)


def test_remark_1_is_a_limit(tmp_path):
    lines = [theory("remark1", {"difference": 2.0 / p}, p=p, seed=seed) for p in (1, 10, 1000) for seed in range(3)]
    found = judged(tmp_path, lines)[8].differences[1]
    assert found.over_cells.mean == pytest.approx(99.9)
    assert found.verdict == SUPPORTED
    lines = [theory("remark1", {"difference": 2.0 / p}, p=p, seed=seed) for p in (1, 10) for seed in range(3)]
    assert judged(tmp_path / "no_limit", lines)[8].differences[1].verdict == CONTRADICTED


def test_runs_of_other_tables_are_not_selected(tmp_path):
    others = [{"dropout": 0.5}, {"overrides": {"augment": True}}, {"backbone": "resnet56"}, {"train_sizes": "all"}]
    runs = read(write(tmp_path, [line(**each) for each in ({}, *others)])).runs
    assert list(select(runs)["place"]) == ["table2:1"]
    assert set(at_sizes(runs)["place"]) == {"table2:5"}
    assert list(at_sizes(runs)["side"]) == [16, 24, 32, 40, 48]


def test_interval_is_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.7, 0.02, 5)
    interval = t_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ends = interval.mean - interval.half_width, interval.mean + interval.half_width
    assert ends == pytest.approx(tuple(expected))


def test_single_value_has_no_interval():
    mean, half_width, number = t_interval([0.7])
    assert (mean, number) == (0.7, 1)
    assert math.isnan(half_width)


def test_equal_values_have_an_interval_of_zero_width():
    assert t_interval([100.0, 100.0, 100.0]) == (100.0, 0.0, 3)
