import os
import warnings

import pytest

from set_aggregation.runs.files import atomic_write, fsync, warn


def test_file_is_whole_or_the_old_one(tmp_path):
    file = tmp_path / "file"
    with atomic_write(file) as temporary:
        temporary.write_text("one")
    with pytest.raises(ZeroDivisionError), atomic_write(file) as temporary:  # noqa: PT012
        temporary.write_text("tw")
        assert file.read_text() == "one"
        raise ZeroDivisionError
    assert file.read_text() == "one"
    assert list(tmp_path.iterdir()) == [file]


def test_leftover_of_a_killed_process_is_replaced(tmp_path):
    (tmp_path / ".file.tmp").write_text("x" * 1000)
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("one")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "one"}


def test_fsync_of_missing_file_is_ignored(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)
    fsync(tmp_path / "none")
    fsync(tmp_path)
    assert len(calls) == 1


def test_warning_has_no_source_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("some message")
    assert str(caught[0].message) == "some message"
    assert "test_files" not in caught[0].filename
