"""W&B runs that go on: what the files of before hold, and what is sent after it."""

import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from set_aggregation.loggers.wandb import BackgroundWandbLogger
from set_aggregation.loggers.wandb_history import num_rows_with, remove_empty, wait_for_writers
from tests.support.wandb_file import read


def log(folder, steps, state=None):
    """Logs a row for each step as a process of the run in a folder, and gives its state at the end."""
    logger = BackgroundWandbLogger(project="tests", save_dir=folder, mode="offline")
    logger.start()
    if state is not None:
        logger.load_state_dict(state)
    for step in steps:
        logger.log_metrics({"train/loss": float(step)}, step)
    state = logger.state_dict()
    logger.finish(0)
    return state


def files(folder):
    return sorted((folder / "wandb").glob("offline-run-*/*.wandb"))


def losses(folder):
    """Of all files, the oldest first."""
    by_time = sorted(files(folder), key=lambda file: file.stat().st_mtime)
    return [row["train/loss"] for file in by_time for row in read(file).history]


class TestGoesOn:
    def test_rows_that_are_there_do_not_come_twice(self, tmp_path):
        """The checkpoint is of three rows; five were written before the end."""
        state = log(tmp_path, range(3))
        log(tmp_path, range(3, 5), state)
        assert log(tmp_path, range(3, 8), state)["rows"] == 8
        assert losses(tmp_path) == list(range(8))

    def test_rows_that_were_lost_are_sent_again(self, tmp_path):
        state = log(tmp_path, range(5))
        (file,) = files(tmp_path)
        content, rows = file.read_bytes(), read(file).history
        assert len(rows) == 5
        for length in range(len(content), 7, -1):  # as if W&B had been killed before it wrote the rest
            file.write_bytes(content[:length])
            if num_rows_with("trainer/global_step", tmp_path / "wandb") == 2:
                break
        log(tmp_path, range(5, 7), state)
        assert num_rows_with("trainer/global_step", tmp_path / "wandb") == 7
        (after,) = (file for file in files(tmp_path) if file.read_bytes() != content[:length])
        assert [row["train/loss"] for row in read(after).history] == [2, 3, 4, 5, 6]

    def test_without_a_checkpoint_all_comes_again_and_is_left_out(self, tmp_path):
        log(tmp_path, range(3))
        empty = tmp_path / "wandb" / "offline-run-1" / "run.wandb"  # of a process that was killed at once
        empty.parent.mkdir()
        empty.touch()
        log(tmp_path, range(5))
        assert losses(tmp_path) == list(range(5))

    def test_a_new_run_does_not_count_the_rows_of_the_one_that_it_started_from(self, tmp_path):
        state = log(tmp_path / "a", range(3))
        assert log(tmp_path / "b", range(2), state)["rows"] == 2
        assert losses(tmp_path / "b") == [0, 1]

    def test_rows_are_kept_while_they_may_be_in_memory_only(self, tmp_path, monkeypatch):
        clock = SimpleNamespace(monotonic=lambda: clock.now, now=100.0)
        monkeypatch.setattr("set_aggregation.loggers.wandb.time", clock)
        logger = BackgroundWandbLogger(project="tests", save_dir=tmp_path, mode="offline")
        for step in range(4):
            logger.log_metrics({"train/loss": 1.0}, step)
            clock.now += 4
        numbers = [number for number, _ in logger.state_dict()["recent"]]
        logger.finish(0)
        assert numbers == [2, 3]  # logged 8 and 4 s ago


class TestHistory:
    def test_torn_file(self, tmp_path):
        """However far it was written, the rows that are whole are counted."""
        log(tmp_path, range(3))
        (file,) = files(tmp_path)
        content, counted = file.read_bytes(), []
        for length in range(len(content) + 1):
            file.write_bytes(content[:length])
            counted.append(num_rows_with("train/loss", tmp_path / "wandb"))
        assert counted == sorted(counted)
        assert set(counted) == {0, 1, 2, 3}

    def test_empty_files_are_removed(self, tmp_path):
        log(tmp_path, range(1))
        (whole,) = files(tmp_path)
        empty = tmp_path / "wandb" / "offline-run-1" / "run.wandb"
        empty.parent.mkdir()
        empty.write_bytes(whole.read_bytes()[:7])
        remove_empty(tmp_path / "wandb")
        assert files(tmp_path) == [whole]

    def test_no_folder(self, tmp_path):
        assert num_rows_with("train/loss", tmp_path / "wandb") == 0
        remove_empty(tmp_path / "wandb")

    @pytest.mark.parametrize(("name", "waits"), [("wandb-core", True), ("another", False)])
    def test_a_process_that_still_writes_is_waited_for(self, tmp_path, monkeypatch, name, waits):
        writes = (
            f"import time; file = open({str(tmp_path / 'a.wandb')!r}, 'w'); print('open', flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", writes], stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            process = psutil.Process(writer.pid)
            process.info = {"name": name}
            monkeypatch.setattr(psutil, "process_iter", lambda names: [process])
            started = time.monotonic()
            wait_for_writers(tmp_path, 0.5)
            assert (time.monotonic() - started >= 0.5) == waits
            writer.kill()
        wait_for_writers(tmp_path, 60)
