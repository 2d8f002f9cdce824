import json
import os
import re
from pathlib import Path

import pytest
import yaml

from set_aggregation.runs.directory import RunDirectory, find_run
from set_aggregation.runs.settings import changed_optimizer_arguments

CONFIG = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 3, "devices": 1, "accelerator": "cpu", "callbacks": None},
    "model": {"dropout": 0.5, "aggregator": {"class_path": "SAN", "init_args": {"out_features": 8}}},
    "data": {"class_path": "CIFAR10", "init_args": {"data_dir": "data", "batch_size": 8}},
    "run": {"experiment": "a", "name": None},
    "resume": None,
}


def config(**changes):
    """Return YAML with other values by dotted name."""
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
    """Makes the folder of an interrupted run."""

    def make(name, text=None, age=0, finished=False):
        run = RunDirectory("a", tmp_path, name)
        run.create(text or config())
        run.unlock()
        if finished:
            run.results.touch()
        changed_at = run.config_file.stat().st_mtime - age
        os.utime(run.config_file, (changed_at, changed_at))
        return run

    return make


@pytest.fixture
def asked(tmp_path):
    return RunDirectory("a", tmp_path, "asked")


def test_new_run(asked, left):
    left("before")
    assert find_run(None, asked, False, config()) is asked


class TestFolder:
    def test_is_resumed_with_any_configuration(self, asked, left):
        run = left("before", config(model__dropout=0.1))
        assert find_run(run.folder, asked, False, config()).folder == run.folder

    def test_relative(self, asked, left, monkeypatch):
        run = left("before")
        for folder, path in ((run.folder, Path()), (run.folder.parent, Path("before"))):
            monkeypatch.chdir(folder)
            assert find_run(path, asked, False, config()).folder.resolve() == run.folder.resolve()

    def test_without_configuration(self, asked, left):
        run = left("before")
        run.checkpoints.mkdir()
        run.config_file.unlink()
        assert find_run(run.folder, asked, False, config()).folder == run.folder

    @pytest.mark.parametrize("name", ["a/none", "a"])
    def test_of_no_run(self, asked, left, tmp_path, name):
        left("before")
        with pytest.raises(ValueError, match=rf"got --resume .*{name}, expected the folder of a run"):
            find_run(tmp_path / name, asked, False, config())


class TestAutoWithName:
    def test_missing_or_equal(self, asked, left):
        assert find_run("auto", asked, True, config()) is asked
        left("asked")
        assert find_run("auto", asked, True, config()) is asked

    @pytest.mark.parametrize(
        ("names", "other"),
        [
            ("model.aggregator.init_args.out_features", {"model__aggregator__init_args__out_features": 9}),
            ("data.init_args.batch_size", {"data__init_args__batch_size": 9}),
            ("model.dropout, seed_everything", {"model__dropout": 0.1, "seed_everything": 1}),
        ],
    )
    def test_another_configuration_is_named(self, asked, left, names, other):
        left("asked", config(**other))
        with pytest.raises(ValueError, match=rf"which has other {re.escape(names)};.*--run\.name"):
            find_run("auto", asked, True, config())

    @pytest.mark.parametrize(
        "other",
        [
            {"trainer__devices": 2},
            {"trainer__logger": False},
            {"recovery__every_n_steps": 5},
            {"run__root": "elsewhere"},
            {"test_after_fit": False},
            {"data__init_args__data_dir": "elsewhere"},
            {"data__init_args__num_workers": 4},
            {"trainer__log_every_n_steps": 1},
            {"model__dropout": 0.50},
        ],
        ids=str,
    )
    def test_settings_that_change_no_result_may_differ(self, asked, left, other):
        left("asked", config(**other))
        assert find_run("auto", asked, True, config()) is asked

    @pytest.mark.parametrize("text", ["", "a: [", "[]"])
    def test_broken_configuration(self, asked, left, text):
        left("asked").config_file.write_text(text)
        with pytest.raises(ValueError, match="which has other"):
            find_run("auto", asked, True, config())

    def test_missing_configuration_warns(self, asked, left):
        run = left("asked")
        run.checkpoints.mkdir()
        run.config_file.unlink()
        with pytest.warns(UserWarning, match="is missing"):
            assert find_run("auto", asked, True, config()) is asked


class TestAuto:
    def test_newest_of_the_same_configuration(self, asked, left):
        assert find_run("auto", asked, False, config()) is asked
        left("older", age=100)
        newest = left("newest", age=50)
        left("of another model", config(model__dropout=0.1), age=10)
        left("finished", finished=True)
        left(".being.made.tmp")
        found = find_run("auto", asked, False, config())
        assert found.folder == newest.folder
        assert not newest.lock()  # it is held from now on

    def test_running_one_is_skipped(self, asked, left):
        older, newest = left("older", age=100), left("newest")
        assert newest.lock()
        assert find_run("auto", asked, False, config()).folder == older.folder
        newest.unlock()


def model(lr=0.1, name="Adam", scheduler=None, **arguments):
    optimizer = {"class_path": name, "init_args": {"lr": lr, "weight_decay": 0.0, **arguments}}
    return {"optimizer": optimizer, "scheduler": scheduler, "scheduler_interval": "epoch", "dropout": 0.5}


COSINE = {"class_path": "CosineAnnealingLR", "init_args": {"T_max": 3}}


class TestOptimizer:
    @pytest.mark.parametrize(
        ("before", "now", "names"),
        [
            (model(), model(0.1), []),
            (model(), model(0.2), ["lr"]),
            (model(), model(weight_decay=0.1), ["weight_decay"]),
            (model(betas=[0.9, 0.99]), model(betas=[0.8, 0.99]), ["betas"]),
            (model(scheduler=COSINE), model(scheduler=COSINE, weight_decay=0.1), ["weight_decay"]),
            ({}, model(), []),
        ],
    )
    def test_changed_arguments(self, before, now, names):
        assert changed_optimizer_arguments(before, now) == names

    @pytest.mark.parametrize(
        ("before", "now", "name"),
        [
            (model(), model(name="SGD"), "model.optimizer.class_path"),
            (model(), model(scheduler=COSINE), "model.scheduler"),
            (model(0.1, scheduler=COSINE), model(0.2, scheduler=COSINE), "model.optimizer.init_args.lr"),
        ],
    )
    def test_refused_by_name(self, before, now, name):
        with pytest.raises(ValueError, match=re.escape(name)):
            changed_optimizer_arguments(before, now)
