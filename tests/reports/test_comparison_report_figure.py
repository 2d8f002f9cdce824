import io
import itertools
import random
import xml.etree.ElementTree as ET
from unittest import mock

import matplotlib as mpl
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from set_aggregation.reports.comparison import compare
from set_aggregation.reports.comparison_report import comparison_figure
from set_aggregation.reports.curves import TEST, TRAIN
from set_aggregation.reports.finished_run import find_runs
from set_aggregation.reports.rendering import as_file
from tests.support.run_folders import history, write_run

AGGREGATORS = ["Flatten", "GlobalAvgPool", "GlobalMaxPool", "Conv1x1", "SAN"]
REDUCTION = "model.aggregator.init_args.reduction"


@pytest.fixture
def write(tmp_path):
    """Writes a run into a new folder."""
    numbers = itertools.count()
    return lambda *arguments, **more: write_run(tmp_path / "logs" / f"{next(numbers)}", *arguments, **more)


@pytest.fixture
def comparison(tmp_path):
    return lambda: compare(*find_runs([tmp_path / "logs"]))


@pytest.fixture
def figure(comparison):
    return lambda: comparison_figure(comparison())


def draw(comparison, kind):
    return as_file(lambda: comparison_figure(comparison), kind)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def panels(figure):
    """Those with a run."""
    return [axes for axes in figure.axes if axes.lines]


def titles(figure):
    """Without the width above those in the first row."""
    return [axes.get_title().split("\n")[-1] for axes in panels(figure)]


def caption(figure):
    return figure.get_supxlabel().replace("\n", " ")


def overlaps(figure):
    """Pairs of texts that lie over one another, and texts that leave the figure or lie over the inside of a panel."""
    drawn = []
    draw_text = Text.draw
    with mock.patch.object(Text, "draw", lambda self, renderer: drawn.append(self) or draw_text(self, renderer)):
        figure.draw_without_rendering()
    boxes = [
        (text.get_text(), text.get_window_extent().padded(-1))
        for text in drawn
        if text.get_text() and text.get_visible()
    ]
    assert len(boxes) > 10
    faults = [(a, b) for (a, one), (b, other) in itertools.combinations(boxes, 2) if one.overlaps(other)]
    faults += [(a, "panel") for a, box in boxes for axes in figure.axes if box.overlaps(axes.get_window_extent())]
    whole = figure.bbox.padded(1)
    return faults + [(a, "edge") for a, box in boxes if not (whole.contains(*box.min) and whole.contains(*box.max))]


def test_one_run_is_one_panel(write, figure):
    write("SAN", "Digits", 1024, epochs=3)
    drawn = figure()
    (axes,) = drawn.axes
    train, test = axes.lines
    assert list(train.get_ydata()) == [row["curve/train_accuracy"] for row in history(3)]
    assert list(test.get_ydata()) == [row["curve/test_accuracy"] for row in history(3)]
    assert same_color(train.get_color(), TRAIN)
    assert same_color(test.get_color(), TEST)
    assert titles(drawn) == ["gap 0.100, test 0.700"]
    assert drawn.subfigs[0].get_suptitle() == "Digits"
    assert axes.get_title().startswith("width 1024\n")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "SAN")
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["train", "test", "gap"]
    assert "bands" not in caption(drawn)
    assert "One run each" in caption(drawn)
    assert overlaps(drawn) == []


def test_four_runs_are_two_by_two(write, figure):
    for name in ("SAN", "GlobalMaxPool"):
        for width in (1024, 64):
            write(name, width=width, curves=history(4, top=0.5 + width / 10_000))
    drawn = figure()
    assert len(drawn.axes) == 4
    assert [axes.get_title().split("\n")[0] for axes in drawn.axes[:2]] == ["width 64", "width 1024"]
    assert [axes.get_ylabel() for axes in drawn.axes] == ["GlobalMaxPool", "", "SAN", ""]
    assert [axes.get_xlabel() for axes in drawn.axes] == ["", "", "epoch", "epoch"]
    assert [axes.lines[0].get_ydata()[-1] for axes in drawn.axes] == [0.5064, 0.6024, 0.5064, 0.6024]
    assert len({axes.get_ylim() for axes in drawn.axes}) == 1
    assert len(drawn.legends) == 1
    assert overlaps(drawn) == []


@pytest.mark.slow
def test_sixty_runs_are_thirty_panels_of_two_seeds(write, figure):
    for name, power, seed in itertools.product(reversed(AGGREGATORS), range(7, 13), (0, 1)):
        write(name, width=2**power, seed=seed, curves=history(4, top=0.6 + 0.1 * seed))
    drawn = figure()
    assert len(drawn.axes) == 30
    assert [axes.get_ylabel() for axes in drawn.axes if axes.get_ylabel()] == AGGREGATORS
    assert [axes.get_title().split("\n")[0] for axes in drawn.axes[:6]] == [
        f"width {2**power}" for power in range(7, 13)
    ]
    assert set(titles(drawn)) == {"gap 0.100, test 0.550, n = 2"}
    assert "bands: lowest to highest" in caption(drawn)
    assert all(list(axes.lines[0].get_ydata())[-1] == pytest.approx(0.65) for axes in drawn.axes)
    assert overlaps(drawn) == []


def test_cells_without_a_run_say_so(write, figure):
    write("Flatten", width=2304, settings={"model.hidden_features": None})
    for width in (128, 1024):
        write("SAN", width=width)
    drawn = figure()
    assert len(panels(drawn)) == 3
    assert [axes.get_title().split("\n")[-1] for axes in drawn.axes].count("no run") == 3
    assert overlaps(drawn) == []


def test_the_scale_is_that_of_the_data_set(write, figure):
    write(data="CIFAR10", curves=history(4, top=0.5))
    write("Flatten", data="CIFAR10", epochs=6, curves=history(6, top=0.9))
    write(data="FashionMNIST at 5 sizes", epochs=3, curves=history(3, top=0.2))
    drawn = figure()
    assert [sheet.get_suptitle() for sheet in drawn.subfigs] == ["CIFAR10", "FashionMNIST at 5 sizes"]
    assert drawn.axes[0].get_ylim() == drawn.axes[1].get_ylim()
    assert drawn.axes[0].get_xlim() == drawn.axes[1].get_xlim()
    assert drawn.axes[0].get_xlim()[1] > 6 > 4 > drawn.axes[2].get_xlim()[1]
    assert drawn.axes[0].get_ylim()[1] > 0.9 > 0.3 > drawn.axes[2].get_ylim()[1]
    assert overlaps(drawn) == []


def test_numbers_of_seeds_that_differ_are_all_written(write, figure):
    for seed in (0, 1, 2):
        write(seed=seed)
    write(width=64)
    assert [title.split(", ")[2] for title in titles(figure())] == ["n = 1", "n = 3"]


def test_seeds_that_stop_at_different_epochs_are_drawn_as_far_as_all_go(write, figure):
    write(epochs=4, seed=0)
    write(epochs=4, seed=1, curves=history(4, top=0.4)[:2], trained=2)
    drawn = figure()
    assert list(drawn.axes[0].lines[0].get_xdata()) == [1, 2]
    assert titles(drawn) == ["gap 0.050, test 0.250, n = 2*"]
    assert "* The seeds were not measured after the same epochs" in caption(drawn)
    assert overlaps(drawn) == []


def test_seeds_without_a_common_epoch_say_so(write, figure):
    write(epochs=4, seed=0, curves=history(4)[2:])
    write(epochs=4, seed=1, curves=history(4)[:2], trained=2)
    drawn = figure()
    assert titles(drawn) == ["no epoch in common, n = 2*"]
    assert overlaps(drawn) == []


def test_one_epoch_only(write, figure):
    write(epochs=1)
    drawn = figure()
    assert titles(drawn) == ["gap 0.100, test 0.700"]
    assert overlaps(drawn) == []


def test_rows_of_one_aggregator_say_what_differs(write, figure):
    write(settings={REDUCTION: "mean", "data.init_args.sizes": [16, 24, 32]})
    write(settings={REDUCTION: "sum", "data.init_args.sizes": [16, 24]})
    said = texts(figure())
    assert "SAN\nsizes=[16, 24, 32]\nreduction=mean" in said
    assert "SAN\nsizes=[16, 24]\nreduction=sum" in said


def test_long_and_many_words_stay_in_their_place(write, figure):
    for name in ("a", "b"):
        settings = {f"data.init_args.setting_{i}": f"{name}/long/path/of/pictures" * 9 for i in range(9)}
        write("AnAggregatorWhoseNameDoesNotFitBesideThePanel", settings=settings)
    drawn = figure()
    assert sum("…" in text for text in texts(drawn)) == 2
    assert overlaps(drawn) == []


def test_rows_that_differ_at_the_end_of_a_long_setting_have_different_labels(write, figure):
    for name in "ab":
        write(settings={"data.init_args.data": f"{'/folder' * 20}/{name}"})
    one, other = (axes.get_ylabel() for axes in panels(figure()))
    assert one.endswith("/folder/a")
    assert other.endswith("/folder/b")


def test_a_long_setting_hides_no_other(write, figure):
    for name in ("a", "b"):
        write(settings={"data.init_args.root": f"{name}/pictures" * 99, REDUCTION: name})
    said = texts(figure())
    assert [text.split("\n")[-1] for text in said if "root=" in text] == ["reduction=a", "reduction=b"]


def test_many_settings_show_those_of_one_row_first(write, figure):
    for many, last in (("a", 0), ("b", 1), ("b", 2)):
        settings = {f"data.init_args.setting_{i}": many for i in range(12)}
        write(settings={**settings, "data.init_args.what": last})
    assert len({axes.get_ylabel() for axes in panels(figure())}) == 3


def test_names_are_no_formulas_and_no_markup(write, comparison):
    write("SAN<script>&$x$_", settings={REDUCTION: "mean"})
    write("SAN<script>&$x$_", settings={REDUCTION: "$</svg>$"})
    drawing = draw(comparison(), "svg").decode()
    said = "".join(ET.fromstring(drawing).itertext())
    assert "SAN<script>&$x$_" in said
    assert "reduction=$</svg>$" in said
    assert "<script" not in drawing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")], ids=["png", "svg", "pdf"]
)
def test_the_same_runs_give_the_same_bytes(tmp_path, write, kind, start):
    for seed in (0, 1):
        write(seed=seed)
        write("Flatten", seed=seed)
    runs, _ = find_runs([tmp_path / "logs"])
    first = draw(compare(runs), kind)
    random.Random(1).shuffle(runs)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        assert draw(compare(runs), kind) == first
        assert mpl.rcParams["font.size"] == 30
    assert first.startswith(start)


def test_letters_that_the_font_lacks_are_no_error(write, comparison):
    write("写真")
    assert draw(comparison(), "png")


def test_image_is_never_larger_than_matplotlib_draws():
    with Image.open(io.BytesIO(as_file(lambda: Figure(figsize=(0.1, 500)), "png"))) as image:
        assert 50_000 < image.height < 2**16
