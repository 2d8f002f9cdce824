import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import SimpleNamespace

import pytest

import set_aggregation.runs.directory as module
from set_aggregation.callbacks import RunDirectory
from set_aggregation.runs.checkpoint import write_checkpoint

CONFIG = "run:\n  name: null\n"


@pytest.fixture
def frozen_time(monkeypatch):
    """All starts fall into the same second."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 6, 1, 12, 30, 15)

    monkeypatch.setattr(module, "datetime", Frozen)


def test_name_says_when(frozen_time):
    assert RunDirectory().name.startswith("2025-06-01_12-30-15_")


def test_runs_of_one_second_differ(frozen_time):
    assert len({RunDirectory().name for _ in range(100)}) == 100


def test_runs_of_one_seed_differ(frozen_time):
    names = set()
    for _ in range(20):
        random.seed(0)
        names.add(RunDirectory().name)
    assert len(names) == 20


def test_of_many_that_want_one_folder_one_gets_it(tmp_path):
    def create(number):
        try:
            RunDirectory("a", tmp_path, "same").create(str(number))
        except ValueError:
            return None
        return str(number)

    with ThreadPoolExecutor(8) as pool:
        winners = [winner for winner in pool.map(create, range(50)) if winner is not None]
    assert len(winners) == 1
    assert (tmp_path / "a" / "same" / "config.yaml").read_text() == winners[0]


def test_create_writes_the_config(tmp_path):
    run = RunDirectory("a", tmp_path / "logs", "b")
    run.create(CONFIG)
    assert run.config_file == tmp_path / "logs" / "a" / "b" / "config.yaml"
    assert run.config_file.read_text() == CONFIG


def test_folder_that_is_there_is_an_error_and_stays(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "precious").touch()
    run = RunDirectory("a", tmp_path, "b")
    with pytest.raises(ValueError, match=r"is there already.*--run\.name"):
        run.create(CONFIG)
    run.discard()
    assert (tmp_path / "a" / "b" / "precious").exists()


def test_file_in_the_way_stays(tmp_path):
    (tmp_path / "a").touch()
    run = RunDirectory("a", tmp_path, "b")
    with pytest.raises(ValueError, match=r"--run\.root"):
        run.create(CONFIG)
    run.discard()
    assert (tmp_path / "a").is_file()


def test_discard_takes_all_that_was_made(tmp_path):
    run = RunDirectory("a", tmp_path / "logs", "b")
    run.create(CONFIG)
    (run.folder / "wandb").mkdir()
    (run.folder / "wandb" / "file").touch()
    run.discard()
    assert list(tmp_path.iterdir()) == []


def test_discard_keeps_other_runs(tmp_path):
    RunDirectory("a", tmp_path, "other").create(CONFIG)
    run = RunDirectory("a", tmp_path, "b")
    run.create(CONFIG)
    run.discard()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]


def test_discard_keeps_runs_that_came_later(tmp_path):
    run = RunDirectory("a", tmp_path / "logs", "b")
    run.create(CONFIG)
    RunDirectory("a", tmp_path / "logs", "later").create(CONFIG)
    run.discard()
    assert [path.name for path in (tmp_path / "logs" / "a").iterdir()] == ["later"]


def test_discard_keeps_folders_that_were_there(tmp_path):
    (tmp_path / "a").mkdir()
    run = RunDirectory("a", tmp_path, "b")
    run.create(CONFIG)
    run.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_discard_before_create_does_nothing(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    RunDirectory("a", tmp_path, "b").discard()
    assert (tmp_path / "a" / "b").exists()


class Logger:
    def __init__(self):
        self.given = []

    def log_hyperparams(self, params):
        self.given.append(params)


@pytest.mark.parametrize(
    ("stage", "is_global_zero", "given"),
    [("fit", True, [{"run": {"name": None}, "labels": {"width": 8}}]), ("test", True, []), ("fit", False, [])],
)
def test_loggers_are_given_the_config(tmp_path, stage, is_global_zero, given):
    run = RunDirectory("a", tmp_path, "b")
    run.create(CONFIG, {"width": 8})
    logger = Logger()
    run.setup(SimpleNamespace(is_global_zero=is_global_zero, loggers=[logger]), None, stage)
    assert logger.given == given


def test_rehearsal_gives_no_config_to_loggers(tmp_path):
    logger = Logger()
    RunDirectory("a", tmp_path, "b").setup(SimpleNamespace(is_global_zero=True, loggers=[logger]), None, "fit")
    assert logger.given == []


class TestLock:
    def test_one_process_at_a_time(self, tmp_path):
        run, other = RunDirectory("a", tmp_path, "b"), RunDirectory("a", tmp_path, "b")
        run.create(CONFIG)
        assert not other.lock()
        with pytest.raises(ValueError, match=r"b, which another process is writing"):
            other.create(CONFIG, is_there=True)
        run.unlock()
        other.create(CONFIG, is_there=True)
        assert not run.lock()

    def test_same_process_again(self, tmp_path):
        run = RunDirectory("a", tmp_path, "b")
        run.create(CONFIG)
        assert run.lock()

    def test_stays_when_the_configuration_changes(self, tmp_path):
        run, other = RunDirectory("a", tmp_path, "b"), RunDirectory("a", tmp_path, "b")
        run.create(CONFIG)
        run.unlock()
        run.create("run: {}\n", is_there=True)
        assert run.config_file.read_text() == "run: {}\n"
        assert not other.lock()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_ends_with_the_process_though_a_child_lives(self, tmp_path):
        run = RunDirectory("a", tmp_path, "b")
        run.create(CONFIG)
        started, say = os.pipe()
        child = os.fork()
        if not child:
            os.write(say, b"x")
            time.sleep(60)
            os._exit(0)
        try:
            os.read(started, 1)
            run.unlock()
            assert RunDirectory("a", tmp_path, "b").lock()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(started)
            os.close(say)


def test_going_on_takes_the_results_away(tmp_path):
    run = RunDirectory("a", tmp_path, "b")
    run.create(CONFIG)
    run.results.touch()
    run.unlock()
    run.create(CONFIG, is_there=True)
    assert not run.results.exists()


def test_nothing_else_is_left_by_what_cannot_be_written(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ValueError, match="No space left"):
        RunDirectory("a", tmp_path, "b").create(CONFIG)
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


class TestNewestCheckpoint:
    @pytest.fixture
    def run(self, tmp_path):
        run = RunDirectory("a", tmp_path, "b")
        run.create(CONFIG)
        return run

    def write(self, run, *names):
        for name in names:
            write_checkpoint({"state_dict": {}}, run.checkpoints / name)

    def test_none(self, run):
        assert run.newest_checkpoint is None

    def test_last(self, run):
        self.write(run, "last.ckpt", "previous.ckpt", "best.ckpt")
        assert run.newest_checkpoint.name == "last.ckpt"

    def test_killed_between_two_renames(self, run):
        self.write(run, "previous.ckpt")
        assert run.newest_checkpoint.name == "previous.ckpt"

    def test_damaged_last(self, run):
        self.write(run, "last.ckpt", "previous.ckpt")
        (run.checkpoints / "last.ckpt").write_bytes(b"PK")
        with pytest.warns(UserWarning, match=r"last\.ckpt, which is damaged.*goes on from the one before it"):
            assert run.newest_checkpoint.name == "previous.ckpt"
