import pytest
from matplotlib.colors import same_color

from set_aggregation.reports.run_figure import run_figure


def entry(epoch):
    values = {"train_accuracy": 0.1 * epoch, "test_accuracy": 0.05 * epoch, "train_loss": 2 / epoch, "test_loss": 2.0}
    return {"epoch": epoch, "step": 3 * epoch, **{f"curve/{name}": value for name, value in values.items()}}


HISTORY = [entry(1), {**entry(3), "curve/val_accuracy": 0.2, "curve/val_loss": 1.9}]


def test_title_and_epochs_without_validation():
    figure = run_figure([entry(1)], "a title")
    assert figure.get_suptitle() == "a title"
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["train", "test"]


@pytest.mark.parametrize(("number", "quantity"), [(0, "accuracy"), (1, "loss")])
def test_train_is_blue_test_is_red_the_gap_is_shaded(number, quantity):
    axes = run_figure(HISTORY).axes[number]
    lines = {line.get_label(): line for line in axes.get_lines()}
    for split, color in (("train", "tab:blue"), ("test", "tab:red")):
        points = [[row["epoch"], row[f"curve/{split}_{quantity}"]] for row in HISTORY]
        assert same_color(lines[split].get_color(), color)
        assert lines[split].get_xydata().tolist() == points
    assert lines["validation"].get_xydata().tolist() == [[3, HISTORY[1][f"curve/val_{quantity}"]]]
    (gap,) = axes.collections
    corners = {tuple(corner) for corner in gap.get_paths()[0].vertices.tolist()}
    assert corners >= {(row["epoch"], row[f"curve/{part}_{quantity}"]) for row in HISTORY for part in ("train", "test")}
    assert quantity in axes.get_ylabel().replace("cross-entropy", "loss")
