import errno
import os
import threading

import pytest
import torch

import set_aggregation.runs.checkpoint as module
from set_aggregation.runs.checkpoint import LAST, PREVIOUS, DamagedCheckpointError, DurableCheckpointIO, read_checkpoint


def checkpoint(number):
    return {"state_dict": {"weight": torch.full((3,), float(number))}, "epoch": number}


def epoch(path):
    return read_checkpoint(path)["epoch"]


@pytest.fixture
def slow(monkeypatch):
    """Writing does not begin before this event is set."""
    gate, write = threading.Event(), module.write_checkpoint

    def wait_then_write(*arguments):
        gate.wait(30)
        write(*arguments)

    monkeypatch.setattr(module, "write_checkpoint", wait_then_write)
    yield gate
    gate.set()


@pytest.fixture
def full(monkeypatch):
    """Lets no checkpoint be written after it is called."""

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(module, "write_checkpoint", fail)


def test_last_is_written_in_the_background_as_it_was(tmp_path, slow):
    io, saved = DurableCheckpointIO(), checkpoint(1)
    io.save_checkpoint(saved, tmp_path / LAST)
    saved["state_dict"]["weight"].zero_()  # the next step
    io.save_checkpoint(checkpoint(2), tmp_path / LAST)  # skipped
    assert not (tmp_path / LAST).exists()
    slow.set()
    io.wait()
    assert read_checkpoint(tmp_path / LAST)["state_dict"]["weight"].tolist() == [1, 1, 1]
    io.teardown()


def test_previous_stays_and_teardown_waits(tmp_path):
    io = DurableCheckpointIO()
    for number in (1, 2, 3):
        io.save_checkpoint(checkpoint(number), tmp_path / LAST)
        io.teardown()
    assert [epoch(tmp_path / name) for name in (LAST, PREVIOUS)] == [3, 2]


def test_others_are_written_at_once_without_a_previous(tmp_path):
    for number in (1, 2):
        DurableCheckpointIO().save_checkpoint(checkpoint(number), tmp_path / "best.ckpt")
        assert epoch(tmp_path / "best.ckpt") == number
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


@pytest.mark.parametrize("name", [LAST, "best.ckpt"])
def test_continue_warns_and_notes_the_failure_until_one_is_written(tmp_path, full, monkeypatch, name):
    io, file = DurableCheckpointIO("continue"), tmp_path / name
    io.save_checkpoint(checkpoint(1), file)
    io.wait()
    with monkeypatch.context():
        full()
        with pytest.warns(UserWarning, match=rf"{name} cannot be written \(No space left on device\)"):  # noqa: PT031
            io.save_checkpoint(checkpoint(2), file)
            io.wait()
    assert (epoch(file), list(io.failed)) == (1, [file])
    monkeypatch.undo()
    io.save_checkpoint(checkpoint(3), file)
    io.teardown()
    assert (epoch(file), io.failed) == (3, {})


def test_stop_raises(tmp_path, full):
    full()
    with pytest.raises(OSError, match=r"best\.ckpt cannot be written \(No space left on device\)"):
        DurableCheckpointIO("stop").save_checkpoint(checkpoint(1), tmp_path / "best.ckpt")


def test_damaged_file_and_code_are_refused(tmp_path):
    (tmp_path / LAST).write_bytes(b"PK")
    torch.save({"state_dict": {}, "code": print}, tmp_path / "other.ckpt")
    for name in (LAST, "other.ckpt"):
        with pytest.raises(DamagedCheckpointError):
            DurableCheckpointIO().load_checkpoint(tmp_path / name, weights_only=False)
