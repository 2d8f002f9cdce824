import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from set_aggregation.reports.curves import GAP, TEST, TRAIN, VAL, common_epochs, draw_panel, run_figure
from tests.support.run_folders import history


@pytest.fixture
def axes():
    return Figure().add_subplot()


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def filled(axes):
    """Colour and corners of each area."""
    return [(area.get_facecolor()[0], area.get_paths()[0].vertices) for area in axes.collections]


def test_one_run_is_two_lines_the_gap_and_the_validation_dotted(axes):
    rows = history(5)
    draw_panel(axes, [rows])
    assert list(lines(axes)) == ["train", "test", "validation"]
    for name, key, color in (("train", "train", TRAIN), ("test", "test", TEST), ("validation", "val", VAL)):
        line = lines(axes)[name]
        assert list(line.get_xdata()) == [1, 2, 3, 4, 5]
        assert list(line.get_ydata()) == [row[f"curve/{key}_accuracy"] for row in rows]
        assert same_color(line.get_color(), color)
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", ":"]
    ((color, corners),) = filled(axes)
    assert same_color(color[:3], GAP)
    assert (corners[:, 1].min(), corners[:, 1].max()) == (pytest.approx(0.14), pytest.approx(0.8))


def test_the_loss_is_drawn_in_the_same_way(axes):
    draw_panel(axes, [history()], "loss")
    assert list(lines(axes)["test"].get_ydata()) == [row["curve/test_loss"] for row in history()]
    assert list(lines(axes)["validation"].get_ydata()) == [row["curve/val_loss"] for row in history()]


def test_of_several_runs_the_mean_and_the_band_from_lowest_to_highest(axes):
    draw_panel(axes, [history(2, top=top) for top in (0.4, 0.5, 0.9)])
    assert list(lines(axes)) == ["train", "test"]
    assert list(lines(axes)["train"].get_ydata()) == pytest.approx([0.3, 0.6])
    assert list(lines(axes)["test"].get_ydata()) == pytest.approx([0.25, 0.5])
    (train, test, _) = [(color, {tuple(xy) for xy in corners.round(9)}) for color, corners in filled(axes)]
    assert same_color(train[0], (TRAIN, 0.25))
    assert same_color(test[0], (TEST, 0.25))
    assert train[1] == {(1, 0.2), (2, 0.4), (1, 0.45), (2, 0.9)}
    assert test[1] == {(1, 0.15), (2, 0.3), (1, 0.4), (2, 0.8)}


def test_epochs_that_some_runs_lack_are_left_out(axes):
    runs = [history(5), history(3), history(6, every=2)]
    assert common_epochs(runs) == [2]
    draw_panel(axes, runs[:2])
    assert list(lines(axes)["train"].get_xdata()) == [1, 2, 3]


def test_runs_without_a_common_epoch_are_an_empty_panel(axes):
    runs = [history(2), history(4)[2:]]
    assert common_epochs(runs) == []
    draw_panel(axes, runs)
    assert len(lines(axes)["train"].get_xdata()) == 0


@pytest.mark.parametrize("arguments", [{"histories": [history(val=False)]}, {"validation": False}])
def test_no_validation_is_no_line(axes, arguments):
    draw_panel(axes, **{"histories": [history()], **arguments})
    assert list(lines(axes)) == ["train", "test"]


def test_validation_of_some_epochs_only(axes):
    rows = history(4)
    for row in rows[::2]:
        del row["curve/val_accuracy"]
    draw_panel(axes, [rows])
    assert list(lines(axes)["validation"].get_xdata()) == [2, 4]


@pytest.mark.parametrize(("epochs", "marker"), [(1, "o"), (2, "o"), (3, "None")])
def test_few_points_are_marked(axes, epochs, marker):
    draw_panel(axes, [history(epochs)])
    assert {line.get_marker() for line in axes.lines} == {marker}


@pytest.mark.parametrize("epochs", [1, 2, 3, 15, 200])
def test_epochs_are_whole_numbers(axes, epochs):
    draw_panel(axes, [history(epochs)])
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    assert ticks
    assert all(tick == int(tick) for tick in ticks)


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
