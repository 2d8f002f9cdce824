import csv
import warnings
from pathlib import Path

import pytest

from set_aggregation.loggers.csv import MetricsFile

HEAD = "epoch,step,train/loss"


@pytest.fixture
def started(tmp_path):
    """Makes the logger of a process that writes ``run/metrics.csv``."""
    return lambda: MetricsFile(tmp_path, name="logs", version="run")


def log(logger, *steps, **more):
    for step in steps:
        logger.log_metrics({"train/loss": step / 4, "epoch": 0, **more}, step)
    logger.save()


def lines(logger):
    return logger.file.read_text().splitlines()


def test_rows_are_appended(started):
    logger = started()
    log(logger, 0, 1)
    inode = logger.file.stat().st_ino
    log(logger, 2)
    assert lines(logger) == [HEAD, "0,0,0.0", "0,1,0.25", "0,2,0.5"]
    assert logger.file.stat().st_ino == inode


def test_new_columns(started):
    logger = started()
    log(logger, 0)
    log(logger, 1, **{"a": 7})
    assert lines(logger) == ["a," + HEAD, ",0,0,0.0", "7,0,1,0.25"]


def test_file_of_before_is_not_there_for_a_new_run(started):
    log(started(), 0, 1, 2)
    logger = started()
    log(logger, 7)
    assert lines(logger) == [HEAD, "0,7,1.75"]


@pytest.mark.parametrize("torn", [None, "0,3,", "0,3,0.7\n0,4"], ids=["whole", "torn", "torn later"])
def test_goes_on_from_a_state(started, torn):
    first = started()
    log(first, 0, 1)
    state = first.state_dict()
    log(first, 2)
    if torn:
        first.file.write_text(first.file.read_text() + torn)
    second = started()
    second.load_state_dict(state)
    assert lines(second) == [HEAD, "0,0,0.0", "0,1,0.25"]
    log(second, 2)
    log(second, 3)
    assert lines(second) == [HEAD, "0,0,0.0", "0,1,0.25", "0,2,0.5", "0,3,0.75"]


def test_goes_on_from_a_state_before_a_column_came(started):
    first = started()
    log(first, 0)
    state = first.state_dict()
    log(first, 1, **{"val/loss": 3})
    second = started()
    second.load_state_dict(state)
    assert lines(second) == [HEAD, "0,0,0.0"]
    log(second, 1, **{"val/loss": 3})
    assert second.file.read_bytes() == first.file.read_bytes()


def test_state_of_another_run(started):
    first = started()
    log(first, 0, 1)
    state = first.state_dict()
    first.file.unlink()
    second = started()
    second.load_state_dict(state)
    log(second, 2)
    assert lines(second) == [HEAD, "0,2,0.5"]


def test_state_without_rows(started):
    first = started()
    state = first.state_dict()
    assert state in ({}, {"rows": 0, "columns": []})
    log(first, 0)
    second = started()
    second.load_state_dict(state)
    log(second, 5)
    assert lines(second) == [HEAD, "0,5,1.25"]


def _fail(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("place", ["append", "anew"])
def test_full_disk(started, monkeypatch, place):
    """Said once; what could not be written is written later, and half a row is mended."""
    logger = started()
    log(logger, 0)
    more = {} if place == "append" else {"val/loss": 3}

    def half(self, rows):
        with logger.file.open("a") as file:
            file.write("0,1")
        _fail()

    with monkeypatch.context() as patch:
        if place == "append":
            patch.setattr(csv.DictWriter, "writerows", half)
        else:
            patch.setattr("os.replace", _fail)
        with pytest.warns(UserWarning, match=r"metrics\.csv cannot be written .*No space left"):
            log(logger, 1, **more)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            log(logger, 2, **more)
    log(logger, 3, **more)
    with logger.file.open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [0, 1, 2, 3]
    assert logger.state_dict()["rows"] == 4


def test_state_counts_what_is_in_the_file(started):
    logger = started()
    log(logger, 0, 1)
    logger.log_metrics({"train/loss": 1.0, "epoch": 0}, 2)
    state = logger.state_dict()
    assert state["rows"] == len(lines(logger)) - 1
    assert sorted(state["columns"]) == ["epoch", "step", "train/loss"]


def test_lies_in_the_folder_of_the_run(started, tmp_path):
    assert started().file == Path(tmp_path) / "logs" / "run" / "metrics.csv"
