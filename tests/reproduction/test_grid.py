"""Which runs each table and figure is made of."""

from collections import Counter
from dataclasses import replace

import pytest

from reproduction.grid import DATA, EXPERIMENTS, Choice, expand

# Columns, rows and seeds of the paper's tables: flatten has one size.
COUNTS = {
    **{"table2": 2 * 5 * (4 * 6 + 1), "table3": 2 * 2 * 3 * 5, "table4": 5 * 5, "dropout": 2 * 3 * 5},
    **{"figure3": 5 * (4 * 6 + 1), "figure4": 5 * (4 * 6 + 1)},
    # Two or four values of its own, four of both, 40 epochs, the preset itself; antialiasing and its baseline.
    "pooling": 5 * 2 * (15 + 13),  # flatten and conv1x1 are for one size
    "open_points": 5 * ((1 + 4 + 1 + 1) + (3 + 4 + 1 + 1) + 2 * 2),
}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_number_of_runs(experiment):
    runs = expand(experiment, Choice())
    assert len(runs) == COUNTS[experiment]
    assert len({settings.key for settings in runs}) == len(runs)


def test_figures_are_runs_of_table_2():
    table = {settings.key for settings in expand("table2", Choice())}
    figures = [settings.key for name in ("figure3", "figure4") for settings in expand(name, Choice())]
    assert sorted(figures) == sorted(table)


def test_what_dropout_is_compared_to_is_in_table_2():
    table = {settings.key for settings in expand("table2", Choice())}
    new = [settings for settings in expand("dropout", Choice()) if settings.key not in table]
    assert {(settings.aggregator, settings.dropout, settings.size) for settings in new} == {("flatten", 0.5, 128)}


def test_open_points_are_flipped_alone():
    runs = expand("open_points", Choice(seeds=[0]))
    keys = {settings.key for settings in runs}
    for settings in runs:
        assert len(settings.overrides) + (settings.epochs != 15) <= 1
        assert replace(settings, overrides={}, epochs=15).key in keys  # what it is compared to
        assert settings.size == 1024
    flipped = Counter((settings.aggregator, name) for settings in runs for name in settings.overrides)
    assert flipped["san", "positions"] == 2
    assert flipped["max", "hidden_activation"] == flipped["san", "reduction"] == flipped["san", "antialias"] == 1
    assert {name for aggregator, name in flipped if aggregator == "max"}.isdisjoint({"reduction", "positions"})


def test_seed_after_seed():
    seeds = [settings.seed for settings in expand("table3", Choice())]
    assert seeds == sorted(seeds)


def test_a_value_that_is_given_twice_makes_no_run_twice():
    assert len(expand("table2", Choice(["digits"], ["san", "san"], [8, 8], seeds=[0, 0]))) == 1


def test_choice():
    choice = Choice(["cifar10"], ["san", "flatten"], [128, 4096], seeds=[3], epochs=2, preset="code")
    runs = expand("table2", choice)
    assert {(settings.aggregator, settings.size) for settings in runs} == {
        *(("san", 128), ("san", 4096), ("flatten", 128))
    }
    assert {(s.data, s.seed, s.epochs, s.preset) for s in runs} == {("cifar10", 3, 2, "code")}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_grid_can_be_tried_on_digits(experiment):
    runs = expand(experiment, Choice(["digits"], seeds=[0], epochs=1))
    assert {settings.data for settings in runs} == {"digits"}


def test_resnet_is_trained_longer():
    assert {(s.epochs, s.backbone) for s in expand("table4", Choice())} == {(200, "resnet56")}
    assert {(s.aggregator, s.size) for s in expand("table4", Choice())} == {
        *(("original", 64), ("avg", 4096), ("max", 4096), ("conv1x1", 4096), ("san", 4096))
    }


@pytest.mark.parametrize(
    ("experiment", "choice", "said"),
    [
        (
            "table2",
            Choice(train_sizes=["all"]),
            "got --train_sizes all for table2, expected none: images have one size",
        ),
        (
            "table3",
            Choice(aggregators=["avg", "flatten"]),
            "got --aggregators flatten for table3, expected max, avg, san",
        ),
        ("figure3", Choice(data=["fashion_mnist"]), "got --data fashion_mnist for figure3, expected cifar10, digits"),
        ("open_points", Choice(preset="modern"), "got --preset modern for open_points"),
        ("pooling", Choice(preset="code"), "got --preset code for pooling"),
    ],
)
def test_what_an_experiment_does_not_have_is_refused(experiment, choice, said):
    with pytest.raises(ValueError, match=said):
        expand(experiment, choice)


def test_names_of_data_are_known():
    assert {settings.data for name in EXPERIMENTS for settings in expand(name, Choice())} < set(DATA)
