import errno
import os
import threading
import warnings

import pytest
import torch

import set_aggregation.runs.checkpoint_io as module
from set_aggregation.runs.checkpoint import read_checkpoint
from set_aggregation.runs.checkpoint_io import LAST, PREVIOUS, DurableCheckpointIO


def checkpoint(number):
    return {"state_dict": {"weight": torch.full((3,), float(number))}, "epoch": number}


@pytest.fixture
def disk():
    made = []

    def make(*arguments):
        made.append(DurableCheckpointIO(*arguments))
        return made[-1]

    yield make
    for each in made:
        each._pending = None
        each.teardown()


@pytest.fixture
def slow(monkeypatch):
    """Writing does not begin before this is set."""
    gate, write = threading.Event(), module.write_checkpoint

    def wait_then_write(*arguments):
        gate.wait(30)
        write(*arguments)

    monkeypatch.setattr(module, "write_checkpoint", wait_then_write)
    yield gate
    gate.set()


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_round_trip(tmp_path, disk):
    io = disk()
    io.save_checkpoint(checkpoint(1), tmp_path / LAST)
    assert io.load_checkpoint(tmp_path / LAST)["epoch"] == 1


def test_last_is_written_while_training_goes_on_as_it_was(tmp_path, disk, slow):
    io, saved = disk(), checkpoint(1)
    io.save_checkpoint(saved, tmp_path / LAST)
    saved["state_dict"]["weight"].zero_()  # the next step
    assert not (tmp_path / LAST).exists()
    slow.set()
    io.wait()
    assert read_checkpoint(tmp_path / LAST)["state_dict"]["weight"].tolist() == [1, 1, 1]


def test_one_that_is_due_meanwhile_is_left_out(tmp_path, disk, slow):
    io = disk()
    for number in (1, 2):
        io.save_checkpoint(checkpoint(number), tmp_path / LAST)
    slow.set()
    io.wait()
    assert read_checkpoint(tmp_path / LAST)["epoch"] == 1
    io.save_checkpoint(checkpoint(3), tmp_path / LAST)
    io.wait()
    assert read_checkpoint(tmp_path / LAST)["epoch"] == 3


def test_the_one_before_stays(tmp_path, disk):
    io = disk()
    for number in (1, 2, 3):
        io.save_checkpoint(checkpoint(number), tmp_path / LAST)
        io.wait()
    assert [read_checkpoint(tmp_path / name)["epoch"] for name in (LAST, PREVIOUS)] == [3, 2]


def test_others_are_there_at_once_and_have_no_previous(tmp_path, disk):
    io = disk()
    for number in (1, 2):
        io.save_checkpoint(checkpoint(number), tmp_path / "best.ckpt")
        assert read_checkpoint(tmp_path / "best.ckpt")["epoch"] == number
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_teardown_waits_and_it_can_be_used_again(tmp_path, disk):
    io = disk()
    for number in (1, 2):
        io.save_checkpoint(checkpoint(number), tmp_path / LAST)
        io.teardown()
        assert read_checkpoint(tmp_path / LAST)["epoch"] == number


@pytest.mark.parametrize("name", [LAST, "best.ckpt"])
def test_continue_says_so_and_goes_on(tmp_path, disk, monkeypatch, name):
    io = disk("continue")
    io.save_checkpoint(checkpoint(1), tmp_path / name)
    io.wait()
    monkeypatch.setattr(module, "write_checkpoint", full)
    words = rf"{name}, which cannot be written \(No space left on device\).*goes on"
    with pytest.warns(UserWarning, match=words):  # noqa: PT031
        io.save_checkpoint(checkpoint(2), tmp_path / name)
        io.wait()
    assert read_checkpoint(tmp_path / name)["epoch"] == 1


@pytest.mark.parametrize("name", [LAST, "best.ckpt"])
def test_stop_is_an_error(tmp_path, disk, monkeypatch, name):
    io = disk("stop")
    monkeypatch.setattr(module, "write_checkpoint", full)
    with pytest.raises(OSError, match=rf"{name}, which cannot be written \(No space left on device\)"):  # noqa: PT012
        io.save_checkpoint(checkpoint(1), tmp_path / name)
        io.wait()


def test_failure_is_told_once(tmp_path, disk, monkeypatch):
    io = disk("continue")
    monkeypatch.setattr(module, "write_checkpoint", full)
    io.save_checkpoint(checkpoint(1), tmp_path / LAST)
    with pytest.warns(UserWarning, match="cannot be written"):
        io.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        io.wait()


def test_failure_is_told_at_the_end(tmp_path, disk, monkeypatch):
    io = disk("continue")
    monkeypatch.setattr(module, "write_checkpoint", full)
    io.save_checkpoint(checkpoint(1), tmp_path / LAST)
    with pytest.warns(UserWarning, match="cannot be written"):
        io.teardown()


def test_damaged_one_is_an_error(tmp_path, disk):
    (tmp_path / LAST).write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"last\.ckpt, which is damaged"):
        disk().load_checkpoint(tmp_path / LAST)


def test_code_is_not_executed(tmp_path, disk):
    torch.save({"state_dict": {}, "code": print}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        disk().load_checkpoint(tmp_path / "other.ckpt", weights_only=False)
