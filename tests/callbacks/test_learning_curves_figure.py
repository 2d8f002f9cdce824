import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import set_aggregation.callbacks.learning_curves as module
from set_aggregation.callbacks import LearningCurves
from tests.support.noise import noise, small_classifier
from tests.support.quiet_trainer import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Figure:
    """Stands in for the figure: it takes a second to write, and fails if it is given an error."""

    def __init__(self):
        self.now, self.drawn, self.error = 1000.0, [], None

    def perf_counter(self):
        return self.now

    def __call__(self, history):
        self.drawn.append(len(history))
        return self

    def savefig(self, file, **options):
        Path(file).write_bytes(b"half")
        self.now += 1
        if self.error:
            raise self.error
        Path(file).write_bytes(b"whole %d" % self.drawn[-1])


@pytest.fixture
def figure(monkeypatch):
    figure = Figure()
    monkeypatch.setattr(module, "time", figure)
    monkeypatch.setattr("set_aggregation.reports.curves.run_figure", figure)
    return figure


class Run:
    """Epochs that end, as a callback sees them."""

    def __init__(self, folder, rank=0):
        self.trainer = SimpleNamespace(is_global_zero=rank == 0, current_epoch=0)
        self.curves, self.file = LearningCurves(every_n_epochs=0), folder / "curves.png"
        self.curves.file = self.file

    def end_epoch(self, measured=True):
        if measured:
            self.curves.history.append({"epoch": len(self.curves.history) + 1})
        self.curves.on_train_epoch_end(self.trainer, None)

    def end(self):
        self.curves.on_fit_end(self.trainer, None)


def test_plotted_after_the_first_epoch_then_for_two_percent_of_the_time(tmp_path, figure):
    run = Run(tmp_path)
    for _ in range(500):
        figure.now += 1
        run.end_epoch()
    assert figure.drawn == list(range(1, 500, 50))
    assert run.curves.seconds == 10
    run.end()
    assert run.file.read_bytes() == b"whole 500"


def test_nothing_new_is_not_plotted(tmp_path, figure):
    run = Run(tmp_path)
    run.end_epoch(measured=False)
    assert not run.file.exists()
    run.end_epoch()
    figure.now += 1000
    run.end_epoch(measured=False)
    run.end()
    assert figure.drawn == [1]


@pytest.mark.parametrize(("has_file", "rank"), [(True, 1), (False, 0)])
def test_other_ranks_and_dry_runs_write_nothing(tmp_path, figure, has_file, rank):
    run = Run(tmp_path, rank)
    run.curves.file = run.file if has_file else None
    run.end_epoch()
    run.end()
    assert (figure.drawn, list(tmp_path.iterdir())) == ([], [])


def test_one_warning_if_it_cannot_be_written_and_the_old_one_stays(tmp_path, figure):
    run = Run(tmp_path)
    run.end_epoch()
    figure.error = OSError(errno.ENOSPC, "No space left on device")
    figure.now += 1000
    with pytest.warns(UserWarning, match="No space left on device") as warned:  # noqa: PT031
        run.end_epoch()
        run.end_epoch()
        run.end()
    assert len(warned) == 1
    assert run.file.read_bytes() == b"whole 1"
    assert list(tmp_path.iterdir()) == [run.file]


@pytest.mark.slow
def test_real_figure(tmp_path):
    curves, file = LearningCurves(num_images=3), tmp_path / "curves.png"
    curves.file = file
    quiet_trainer(tmp_path, callbacks=curves, max_epochs=2, limit_train_batches=1).fit(small_classifier(), noise())
    with Image.open(file) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (1000, 400))
