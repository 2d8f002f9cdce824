import os
from pathlib import Path

import pytest

from set_aggregation.reports.finished_run import find_runs
from tests.support.run_folders import write_run


def found(*folders):
    runs, skipped = find_runs(folders)
    return [run.folder for run in runs], [(each.folder, each.reason.split(":")[0]) for each in skipped]


def test_a_run_and_folders_of_runs_at_any_depth_are_found(tmp_path):
    folders = [write_run(tmp_path / path) for path in ("a/1", "a/2", "b/c/d/3")]
    assert found(tmp_path) == (folders, [])
    assert found(tmp_path / "a") == (folders[:2], [])
    assert found(folders[2]) == (folders[2:], [])


def test_what_is_named_twice_is_read_once(tmp_path, monkeypatch):
    run = write_run(tmp_path / "logs" / "a")
    broken = write_run(tmp_path / "logs" / "b", without=("results.json",))
    monkeypatch.chdir(tmp_path)
    assert found(Path("logs"), tmp_path, run) == ([Path("logs/a")], [(Path("logs/b"), "unfinished")])
    assert found(run, broken, Path("logs")) == ([run], [(broken, "unfinished")])


def test_what_a_run_keeps_inside_is_no_run(tmp_path):
    run = write_run(tmp_path / "run")
    write_run(run / "wandb" / "files")
    write_run(run / "checkpoints" / "best")
    write_run(tmp_path / ".hidden")
    below = [write_run(tmp_path / "wandb" / "sweep"), write_run(run / "more")]
    assert found(tmp_path) == ([run, below[1], below[0]], [])


def test_broken_and_unfinished_runs_are_passed_over(tmp_path):
    good = write_run(tmp_path / "good")
    write_run(tmp_path / "bare", without=("config.yaml",))
    write_run(tmp_path / "late", without=("results.json",))
    assert found(tmp_path) == ([good], [(tmp_path / "bare", "broken"), (tmp_path / "late", "unfinished")])


def test_a_folder_without_runs_is_named(tmp_path):
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    _, (skipped,) = find_runs([tmp_path / "empty"])
    assert skipped.folder == tmp_path / "empty"
    assert skipped.reason == "got no config.yaml in it or below, expected the folder of a run"


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    run = write_run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    runs, (skipped,) = find_runs([tmp_path])
    assert [each.folder for each in runs] == [run]
    assert (skipped.folder, skipped.reason) == (tmp_path / "b", "cannot be read (Permission denied)")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_runs_come_in_the_order_of_their_folders(tmp_path, order):
    folders = [write_run(tmp_path / name) for name in ("a", "b")]
    assert found(*(folders[i] for i in order))[0] == [folders[i] for i in order]
