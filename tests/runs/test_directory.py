import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

import set_aggregation.runs.directory as module
from set_aggregation.runs.checkpoint import write_checkpoint
from set_aggregation.runs.directory import RunDirectory

CONFIG = "run:\n  name: null\n"


@pytest.fixture
def run(tmp_path):
    run = RunDirectory("a", tmp_path / "logs", "b")
    run.create(CONFIG)
    return run


def again(run):
    return RunDirectory(run.experiment, run.root, run.name)


def test_names_of_one_second_and_one_seed_differ(monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 6, 1, 12, 30, 15)

    monkeypatch.setattr(module, "datetime", Frozen)
    names = set()
    for _ in range(20):
        random.seed(0)
        names.add(RunDirectory().name)
    assert len(names) == 20
    assert all(name.startswith("2025-06-01_12-30-15_") for name in names)


def test_one_of_many_processes_gets_the_folder(tmp_path):
    def create(number):
        try:
            RunDirectory("a", tmp_path, "same").create(str(number))
        except ValueError:
            return None
        return str(number)

    with ThreadPoolExecutor(8) as pool:
        (winner,) = [winner for winner in pool.map(create, range(50)) if winner is not None]
    assert (tmp_path / "a" / "same" / "config.yaml").read_text() == winner


def test_existing_folder_is_refused_and_stays(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "precious").touch()
    run = RunDirectory("a", tmp_path, "b")
    with pytest.raises(ValueError, match=r"exists; use another --run\.name"):
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


def test_full_disk_leaves_no_folder(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ValueError, match="No space left"):
        RunDirectory("a", tmp_path, "b").create(CONFIG)
    assert list(tmp_path.iterdir()) == []


class TestDiscard:
    def test_removes_what_was_made(self, run, tmp_path):
        (run.folder / "wandb").mkdir()
        (run.folder / "wandb" / "file").touch()
        run.discard()
        assert list(tmp_path.iterdir()) == []

    def test_keeps_a_folder_with_a_checkpoint(self, run):
        write_checkpoint({"state_dict": {}}, run.checkpoints / "best.ckpt")
        run.discard()
        assert (run.checkpoints / "best.ckpt").exists()

    def test_keeps_other_runs(self, run):
        RunDirectory("a", run.root, "later").create(CONFIG)
        run.discard()
        assert [path.name for path in (run.root / "a").iterdir()] == ["later"]

    def test_keeps_a_resumed_run(self, run):
        run.unlock()
        resumed = again(run)
        resumed.create(CONFIG, resume=True)
        resumed.discard()
        assert run.config_file.exists()


class TestLock:
    def test_one_process_at_a_time(self, run):
        other = again(run)
        assert not other.lock()
        assert run.lock()
        with pytest.raises(ValueError, match="b, which another process is writing"):
            other.create(CONFIG, resume=True)
        run.unlock()
        other.create(CONFIG, resume=True)
        assert not run.lock()

    def test_stays_when_the_configuration_changes(self, run):
        run.unlock()
        run.create("run: {}\n", resume=True)
        assert run.config_file.read_text() == "run: {}\n"
        assert not again(run).lock()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_ends_with_the_process_though_a_child_lives(self, run):
        started, ready = os.pipe()
        child = os.fork()
        if not child:
            os.write(ready, b"x")
            time.sleep(60)
            os._exit(0)
        try:
            os.read(started, 1)
            run.unlock()
            assert again(run).lock()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(started)
            os.close(ready)


def test_resuming_removes_the_results(run):
    run.results.touch()
    run.create(CONFIG, resume=True)
    assert not run.results.exists()


def test_deleted_configuration_is_written_again(run):
    run.checkpoints.mkdir()
    run.config_file.unlink()
    run.unlock()
    resumed = again(run)
    assert resumed.exists
    resumed.create(CONFIG, resume=True)
    assert run.config_file.read_text() == CONFIG
    assert not again(run).lock()


class TestNewestCheckpoint:
    def write(self, run, *names):
        for name in names:
            write_checkpoint({"state_dict": {}}, run.checkpoints / name)

    @pytest.mark.parametrize(
        ("names", "newest"),
        [(["last.ckpt", "previous.ckpt", "best.ckpt"], "last.ckpt"), (["previous.ckpt"], "previous.ckpt")],
    )
    def test_intact(self, run, names, newest):
        assert run.newest_checkpoint() is None
        self.write(run, *names)
        assert run.newest_checkpoint().name == newest

    def test_damaged_last(self, run):
        self.write(run, "previous.ckpt")
        (run.checkpoints / "last.ckpt").write_bytes(b"PK")
        with pytest.warns(UserWarning, match=r"last\.ckpt, which is damaged.*resuming from previous\.ckpt"):
            assert run.newest_checkpoint().name == "previous.ckpt"

    def test_both_damaged(self, run):
        self.write(run, "last.ckpt", "previous.ckpt")
        for name in ("last.ckpt", "previous.ckpt"):
            (run.checkpoints / name).write_bytes(b"PK")
        with pytest.warns(UserWarning, match="no intact checkpoint is left") as warned:
            assert run.newest_checkpoint() is None
        assert not any("resuming" in str(warning.message) for warning in warned)
