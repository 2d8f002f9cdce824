import pytest

from reproduction.contrast import (
    MARGIN,
    Contrast,
    accuracy,
    accuracy_at,
    contrast,
    epochs_to,
    gap,
    mean_over_sizes,
    train_accuracy,
    val_accuracy_after,
)
from reproduction.reading import read
from tests.support.paper_lines import line, write


@pytest.fixture
def cell(tmp_path):
    """The runs of these lines, by seed."""
    return lambda *lines: {run.seed: run for run in read(write(tmp_path / "results", lines)).runs}


def test_only_seeds_that_all_have_are_compared(cell):
    one = cell(*(line(seed=seed, accuracy=0.7 + 0.01 * seed) for seed in (0, 1, 2)))
    other = cell(*(line("max", seed=seed, accuracy=0.6) for seed in (1, 2, 3)))
    difference = contrast("", [(1, one, accuracy()), (-1, other, accuracy())])
    assert difference.values == pytest.approx({1: 0.11, 2: 0.12})
    assert difference.error is None
    assert difference.places == ("table2:2", "table2:3", "table2:1", "table2:2")


def test_without_common_seeds_there_is_nothing(cell):
    difference = contrast("", [(1, cell(line(seed=0)), accuracy()), (-1, cell(line(seed=1)), accuracy())])
    assert difference.values == {}


@pytest.mark.parametrize(("split", "number"), [("paper", 5000), ("official", 10000), ("one of another size", 5000)])
def test_a_single_run_has_the_error_of_its_test_images(cell, split, number):
    one, other = cell(line(accuracy=0.75, split=split)), cell(line(accuracy=0.7, split=split))
    difference = contrast("", [(1, one, accuracy()), (-1, other, accuracy())])
    assert difference.error == pytest.approx(((0.75 * 0.25 + 0.7 * 0.3) / number) ** 0.5)
    assert difference.half_width == pytest.approx(1.96 * difference.error, rel=1e-4)


def test_a_single_difference_counts_only_beyond_the_margin():
    values = {name: Contrast("", {0: 0.01 + shift}, 1e-4, ()) for name, shift in (("within", 0.0049), ("over", 0.0051))}
    assert values["within"].p_value == 1
    assert values["over"].p_value < 1e-6
    assert Contrast("", {0: -MARGIN - 0.001}, 0.02, ()).p_value > 0.05  # beyond it, and still noise
    assert Contrast("", {0: 5.0}, None, ()).p_value == 1  # of what no noise is known


def test_null_shifts_what_is_tested():
    values = {0: -0.010, 1: -0.012, 2: -0.011}
    assert Contrast("", values, None, ()).p_value < 0.01
    assert Contrast("", values, None, (), null=-0.011).p_value > 0.9
    assert Contrast("", values, None, (), null=-0.015).p_value < 0.05


def test_best_and_last(cell):
    (run,) = cell(line(accuracy=0.7, last=0.6)).values()
    assert [accuracy(which)(run).value for which in ("best", "last")] == [0.7, 0.6]


def test_each_size(cell):
    (run,) = cell(line(train_sizes="all", per_size={"16x16": 0.5, "32x32": 0.7})).values()
    assert accuracy_at("16x16")(run).value == 0.5
    assert accuracy_at("48x48")(run) is None
    assert mean_over_sizes(run).value == pytest.approx(0.6)
    assert mean_over_sizes(next(iter(cell(line()).values()))) is None


def test_gap_and_training_accuracy_are_of_the_last_epoch(cell):
    (run,) = cell(line(curve=[0.5, 0.9, 0.6], gap=0.125)).values()
    assert gap(run).value == pytest.approx(0.125)
    assert train_accuracy(run).value == pytest.approx(0.725)
    assert gap(run).variance == pytest.approx((0.6 * 0.4 + 0.725 * 0.275) / 4500)
    (bare,) = cell({**line(), "curves": []}).values()
    assert gap(bare) is train_accuracy(bare) is epochs_to(0.5)(bare) is None


@pytest.mark.parametrize(("level", "epochs"), [(0.4, 1), (0.5, 1), (0.6, 1.5), (0.7, 2), (0.8, 3), (0.95, 4)])
def test_epochs_to_a_level_are_counted_between_epochs(cell, level, epochs):
    (run,) = cell(line(curve=[0.5, 0.7, 0.8])).values()
    assert epochs_to(level)(run).value == pytest.approx(epochs)


def test_a_curve_may_fall_before_it_rises(cell):
    (run,) = cell(line(curve=[0.5, 0.3, 0.8])).values()
    assert epochs_to(0.55)(run).value == pytest.approx(2.5)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 0.2), (2, 0.4), (2.5, 0.45), (3, 0.5), (3.1, None), (0.9, None)])
def test_validation_accuracy_between_epochs(cell, epochs, expected):
    (run,) = cell(line(curve=[0.2, 0.4, 0.5])).values()
    measured = val_accuracy_after(epochs)(run)
    assert (measured and measured.value) == pytest.approx(expected)


def test_validation_accuracy_of_curves_without_it(cell):
    (run,) = cell(line()).values()
    for row in run.curves:
        del row["val_accuracy"]
    assert val_accuracy_after(2)(run) is None
