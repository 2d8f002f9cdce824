import json
import os
import re
from pathlib import Path

import pytest
import yaml

from set_aggregation.callbacks import RunDirectory
from set_aggregation.runs.resume import find_run

CONFIG = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 3, "devices": 1, "accelerator": "cpu", "callbacks": None},
    "model": {"dropout": 0.5, "aggregator": {"class_path": "SAN", "init_args": {"out_features": 8}}},
    "run": {"experiment": "a", "name": None},
    "recovery": {"every_n_steps": None},
    "resume": None,
}


def config(**changes):
    """As YAML, with other values by dotted name."""
    values = json.loads(json.dumps(CONFIG))
    for name, value in changes.items():
        *above, last = name.split("__")
        inner = values
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return yaml.safe_dump(values, sort_keys=False)


@pytest.fixture
def left(tmp_path):
    """Makes the folder of a run that was interrupted."""

    def make(name, text=None, age=0, finished=False):
        run = RunDirectory("a", tmp_path, name)
        run.create(text or config())
        run.unlock()
        if finished:
            run.results.touch()
        time = run.config_file.stat().st_mtime - age
        os.utime(run.config_file, (time, time))
        return run

    return make


@pytest.fixture
def asked(tmp_path):
    return RunDirectory("a", tmp_path, "asked")


def test_new_run(asked, left):
    left("before")
    assert find_run(None, asked, False, config()) is asked


class TestFolder:
    def test_is_gone_on_with(self, asked, left):
        run = left("before", config(model__dropout=0.1))
        found = find_run(run.folder, asked, False, config())
        assert found.folder == run.folder

    def test_relative(self, asked, left, monkeypatch):
        run = left("before")
        monkeypatch.chdir(run.folder)
        assert find_run(Path(), asked, False, config()).folder.resolve() == run.folder.resolve()
        monkeypatch.chdir(run.folder.parent)
        assert find_run(Path("before"), asked, False, config()).folder.resolve() == run.folder.resolve()

    @pytest.mark.parametrize("name", ["a/none", "a"])
    def test_of_no_run(self, asked, left, tmp_path, name):
        left("before")
        with pytest.raises(ValueError, match=rf"got --resume .*{name}, expected the folder of a run"):
            find_run(tmp_path / name, asked, False, config())


class TestAutoWithName:
    def test_not_there(self, asked):
        assert find_run("auto", asked, True, config()) is asked

    def test_same_configuration(self, asked, left):
        left("asked")
        assert find_run("auto", asked, True, config()) is asked

    @pytest.mark.parametrize(
        ("name", "changed"),
        [
            ("model.dropout", {"model__dropout": 0.1}),
            ("model.aggregator.init_args.out_features", {"model__aggregator__init_args__out_features": 9}),
            ("seed_everything", {"seed_everything": 1}),
            ("trainer.max_epochs", {"trainer__max_epochs": 4}),
            ("trainer.callbacks", {"trainer__callbacks": []}),
            ("data", {"data": {}}),
            ("model.dropout, seed_everything", {"model__dropout": 0.1, "seed_everything": 1}),
        ],
    )
    def test_another_configuration_is_named(self, asked, left, name, changed):
        left("asked", config(**changed))
        with pytest.raises(ValueError, match=rf"which has other {re.escape(name)};.*--run\.name"):
            find_run("auto", asked, True, config())

    @pytest.mark.parametrize(
        "changed",
        [
            {"trainer__devices": 2},
            {"trainer__accelerator": "gpu"},
            {"trainer__logger": False},
            {"recovery__every_n_steps": 5},
            {"run__root": "elsewhere"},
            {"test_after_fit": False},
        ],
        ids=str,
    )
    def test_where_and_how_it_runs_may_change(self, asked, left, changed):
        left("asked", config(**changed))
        assert find_run("auto", asked, True, config()) is asked

    @pytest.mark.parametrize("text", ["", "a: [", "[]"])
    def test_configuration_that_is_none(self, asked, left, text):
        left("asked", config())
        asked.config_file.write_text(text)
        with pytest.raises(ValueError, match="which has other"):
            find_run("auto", asked, True, config())


class TestAuto:
    def test_nothing_there(self, asked):
        assert find_run("auto", asked, False, config()) is asked

    def test_newest_of_the_same_configuration(self, asked, left):
        left("older", age=100)
        newest = left("newest", age=50)
        left("of another model", config(model__dropout=0.1), age=10)
        left("finished", finished=True)
        assert find_run("auto", asked, False, config()).folder == newest.folder

    def test_one_that_is_being_written_is_not_taken(self, asked, left):
        older, newest = left("older", age=100), left("newest")
        assert newest.lock()
        assert find_run("auto", asked, False, config()).folder == older.folder
        newest.unlock()

    def test_it_can_be_locked_then(self, asked, left):
        left("older")
        find_run("auto", asked, False, config()).lock_or_raise()

    def test_all_finished(self, asked, left):
        left("one", finished=True)
        assert find_run("auto", asked, False, config()) is asked

    def test_another_experiment_is_left_alone(self, left, tmp_path):
        left("one")
        asked = RunDirectory("b", tmp_path, "asked")
        assert find_run("auto", asked, False, config()) is asked

    def test_folder_that_a_killed_process_was_making(self, asked, left):
        left(".one.abc.tmp")
        assert find_run("auto", asked, False, config()) is asked
