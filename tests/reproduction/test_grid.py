"""The runs of each table and figure."""

from dataclasses import replace

import pytest

from reproduction.grid import AGGREGATORS, EXPERIMENTS, expand

# Columns, rows and seeds of the paper's tables: flatten has one size.
COUNTS = {
    **{"table2": 2 * 5 * (4 * 6 + 1), "table3": 2 * 2 * 3 * 5, "table4": 5 * 5, "dropout": 2 * 3 * 5},
    **{"figure3": 5 * (4 * 6 + 1), "figure4": 5 * (4 * 6 + 1)},
    "pooling": 5 * 2 * (15 + 13),  # flatten and conv1x1 take one size
    # The baseline, 40 epochs, four changes of both, two or five of its own; conv1x1 twice; antialias and its baseline.
    "ablations": 5 * ((1 + 1 + 4 + 1) + (1 + 1 + 4 + 4) + 2 + 2 * 2),
}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_number_of_runs(experiment):
    runs = expand(experiment)
    assert len(runs) == COUNTS[experiment]
    assert len({run.key for run in runs}) == len(runs)
    assert {run.aggregator for run in runs} <= set(AGGREGATORS)


def test_figures_are_runs_of_table_2():
    figures = [run.key for name in ("figure3", "figure4") for run in expand(name)]
    assert sorted(figures) == sorted(run.key for run in expand("table2"))


def test_ablations_differ_from_a_baseline_in_one_thing():
    runs = expand("ablations", seeds=[0])
    keys = {run.key for run in runs}
    pairs = [run.overrides for run in runs if len(run.overrides) + (run.epochs != 15) > 1]
    assert pairs == [{"reduction": "mean", "learning_rate": 0.01}]
    for run in runs:
        assert replace(run, overrides={}, epochs=15).key in keys
        assert run.size == 1024
    changed = {(run.aggregator, name) for run in runs for name in run.overrides}
    assert {
        ("max", "hidden_activation"),
        ("san", "reduction"),
        ("san", "antialias"),
        ("conv1x1", "channels"),
    } <= changed
    assert not {("max", "reduction"), ("max", "positions"), ("conv1x1", "normalize")} & changed


def test_one_seed_after_another():
    seeds = [run.seed for run in expand("table3")]
    assert seeds == sorted(seeds)


def test_a_value_given_twice_makes_no_run_twice():
    assert len(expand("table2", data=["digits"], aggregators=["san", "san"], sizes=[8, 8], seeds=[0, 0])) == 1


@pytest.mark.parametrize(
    ("experiment", "choice", "words"),
    [
        ("table2", {"train_sizes": ["all"]}, "train_sizes all for table2, expected none"),
        ("table3", {"aggregators": ["flatten"]}, "aggregators flatten for table3, expected max, avg, san"),
        ("table4", {"data": ["fashion_mnist"]}, "data fashion_mnist for table4, expected cifar10"),
        ("ablations", {"preset": "modern"}, "preset modern for ablations, expected paper"),
        ("pooling", {"preset": "short"}, "preset short for pooling, expected paper"),
    ],
)
def test_what_an_experiment_does_not_have_is_refused(experiment, choice, words):
    with pytest.raises(ValueError, match=words):
        expand(experiment, **choice)


def test_short_preset_has_12_epochs():
    assert {run.epochs for run in expand("table4", preset="short")} == {12}
    assert {run.epochs for run in expand("table4")} == {200}
    assert {run.epochs for run in expand("table4", preset="short", epochs=3)} == {3}
