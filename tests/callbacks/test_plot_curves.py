import errno
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.colors import same_color
from PIL import Image

import set_aggregation.callbacks.plot_curves as module
from set_aggregation.callbacks import CurvesPicture, LearningCurves
from set_aggregation.reports.run_figure import run_figure
from tests.support.noise import noise, small_classifier
from tests.support.quiet_trainer import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def entry(epoch):
    values = {"train_accuracy": 0.1 * epoch, "test_accuracy": 0.05 * epoch, "train_loss": 2 / epoch, "test_loss": 2.0}
    return {"epoch": epoch, "step": 3 * epoch, **{f"curve/{name}": value for name, value in values.items()}}


class Clock:
    now = 1000.0

    def perf_counter(self):
        return self.now


class Drawing:
    """Takes the place of the figure: it takes a second to write, and fails where it is told to."""

    def __init__(self, clock):
        self.clock, self.drawn, self.error = clock, [], None

    def __call__(self, history, title):
        self.drawn.append((len(history), title))
        return self

    def savefig(self, file, **options):
        file = Path(file)
        file.write_bytes(b"half")
        self.clock.now += 1
        if self.error:
            raise self.error
        file.write_bytes(b"whole %d" % self.drawn[-1][0])


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def drawing(monkeypatch, clock):
    drawing = Drawing(clock)
    monkeypatch.setattr("set_aggregation.reports.run_figure.run_figure", drawing)
    return drawing


class Run:
    """Epochs that end, as a callback sees them."""

    def __init__(self, folder, rank=0):
        self.trainer = SimpleNamespace(is_global_zero=rank == 0)
        self.curves = LearningCurves()
        self.file = folder / "curves.png"
        self.picture = CurvesPicture(self.file, self.curves, "a title")

    def end_epoch(self, measured=True):
        if measured:
            self.curves.history.append(entry(len(self.curves.history) + 1))
        self.picture.on_train_epoch_end(self.trainer, None)

    def end(self):
        self.picture.on_fit_end(self.trainer, None)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_drawn_after_the_first_epoch_and_at_the_end(run, drawing):
    run.end_epoch()
    assert run.file.read_bytes() == b"whole 1"
    run.end_epoch()
    assert run.file.read_bytes() == b"whole 1"  # too soon
    run.end()
    assert run.file.read_bytes() == b"whole 2"
    assert drawing.drawn == [(1, "a title"), (2, "a title")]


def test_drawn_for_two_percent_of_the_time(run, drawing, clock):
    for _ in range(500):
        clock.now += 1
        run.end_epoch()
    assert len(drawing.drawn) == run.picture.seconds == 10
    assert [num for num, _ in drawing.drawn] == list(range(1, 500, 50))


def test_a_drawing_is_followed_by_fifty_times_its_time_without(run, drawing, clock):
    run.end_epoch()
    clock.now += 49.9
    run.end_epoch()
    assert len(drawing.drawn) == 1
    clock.now += 0.1
    run.end_epoch()
    assert len(drawing.drawn) == 2


def test_what_is_drawn_is_not_drawn_again(run, drawing, clock):
    run.end_epoch()
    clock.now += 1000
    run.end_epoch(measured=False)
    run.end()
    assert len(drawing.drawn) == 1


def test_nothing_measured_nothing_drawn(run, drawing):
    run.end_epoch(measured=False)
    run.end()
    assert (drawing.drawn, run.file.exists()) == ([], False)


def test_the_first_rank_draws(tmp_path, drawing):
    run = Run(tmp_path, rank=1)
    run.end_epoch()
    run.end()
    assert (drawing.drawn, list(tmp_path.iterdir())) == ([], [])


def test_nothing_is_drawn_without_a_folder(tmp_path, drawing):
    run = Run(tmp_path / "nothing")
    run.end_epoch()
    run.end()
    assert (drawing.drawn, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_stands_there_is_whole_all_the_time(run, drawing, error):
    run.end_epoch()
    run.end_epoch()
    drawing.error = error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run.end()
        except KeyboardInterrupt:
            assert isinstance(error, KeyboardInterrupt)
    assert run.file.read_bytes() == b"whole 1"
    assert len(drawing.drawn) == 2


def test_one_warning_where_it_cannot_be_written(run, drawing, clock):
    drawing.error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.warns(UserWarning, match="No space left on device") as warned:
        run.end_epoch()
    drawing.error = None
    clock.now += 1000
    run.end_epoch()
    run.end()
    assert len(warned) == 1
    assert str(warned[0].message).startswith(f"got {run.file}, which cannot be written (")
    assert (len(drawing.drawn), run.file.exists()) == (1, False)


def test_training_goes_on_without(tmp_path):
    (tmp_path / "curves.tmp").mkdir()  # where it would be written
    curves = LearningCurves(num_images=3)
    picture = CurvesPicture(tmp_path / "curves.png", curves)
    trainer = quiet_trainer(tmp_path, callbacks=[curves, picture], max_epochs=3, limit_train_batches=1)
    with pytest.warns(UserWarning, match="cannot be written .*: training goes on") as warned:
        trainer.fit(small_classifier(), noise())
    assert sum("curves.png" in str(warning.message) for warning in warned) == 1
    assert trainer.current_epoch == 3


class Look(module.Callback):
    """Opens the picture at the end of each epoch."""

    def __init__(self, file):
        self.file, self.seen = file, []

    def on_train_epoch_end(self, trainer, pl_module):
        with Image.open(self.file) as image:
            image.load()
            self.seen.append((image.format, image.size))

    on_fit_end = on_train_epoch_end


def test_a_picture_after_each_epoch_that_is_long_enough(tmp_path, clock):
    """With a clock that stands still no time is taken, so that each epoch is long enough."""
    curves, file = LearningCurves(num_images=3), tmp_path / "curves.png"
    look = Look(file)
    callbacks = [curves, CurvesPicture(file, curves, "SAN, width 8"), look]
    quiet_trainer(tmp_path, callbacks=callbacks, max_epochs=2, limit_train_batches=1).fit(small_classifier(), noise())
    assert look.seen == [("PNG", (1000, 400))] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


# What is drawn


HISTORY = [entry(1), {**entry(3), "curve/val_accuracy": 0.2, "curve/val_loss": 1.9}]


def test_title():
    assert run_figure(HISTORY, "a title").get_suptitle() == "a title"


@pytest.mark.parametrize(("number", "quantity"), [(0, "accuracy"), (1, "loss")])
def test_train_is_blue_test_is_red_the_gap_is_shaded(number, quantity):
    axes = run_figure(HISTORY).axes[number]
    lines = {line.get_label(): line for line in axes.get_lines()}
    for part, color in (("train", "tab:blue"), ("test", "tab:red")):
        assert same_color(lines[part].get_color(), color)
        assert lines[part].get_xydata().tolist() == [[row["epoch"], row[f"curve/{part}_{quantity}"]] for row in HISTORY]
    assert lines["validation"].get_xydata().tolist() == [[3, HISTORY[1][f"curve/val_{quantity}"]]]
    (gap,) = axes.collections
    corners = {tuple(corner) for corner in gap.get_paths()[0].vertices.tolist()}
    assert corners >= {(row["epoch"], row[f"curve/{part}_{quantity}"]) for row in HISTORY for part in ("train", "test")}
    assert quantity in axes.get_ylabel().replace("cross-entropy", "loss")


def test_epochs_without_validation():
    axes = run_figure([entry(1)]).axes[0]
    assert [line.get_label() for line in axes.get_lines()] == ["train", "test"]
