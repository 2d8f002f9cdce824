import dataclasses
import json
import math
import os

import pytest

from set_aggregation.reports.finished_run import UnusableRunError, read_run
from tests.support.run_folders import history, write_run


def reason(folder):
    with pytest.raises(UnusableRunError) as raised:
        read_run(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def spoilt(number, **values):
    """Curves with other values in one row; None leaves one out."""
    rows = history()
    rows[number] = {key: value for key, value in (rows[number] | values).items() if value is not None}
    return rows


def test_a_run_is_what_its_files_say(tmp_path):
    run = read_run(write_run(tmp_path / "run", "GlobalMaxPool", "Digits", 64, 7, 3))
    assert (run.aggregator, run.data, run.width, run.seed, run.epochs) == ("GlobalMaxPool", "Digits", 64, 7, 3)
    assert (run.folder, run.parameters, run.best_test) == (tmp_path / "run", 1234, 0.625)
    assert list(run.history) == history(3)
    assert run.settings["trainer.max_epochs"] == "3"
    assert not any("logger" in name or name.startswith("run") for name in run.settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 1


def test_without_validation_test_and_checkpoint_there_is_still_a_run(tmp_path):
    folder = write_run(tmp_path / "run", curves=history(val=False), without=("metrics", "parameters", "best"))
    run = read_run(folder)
    assert (run.parameters, run.best_test, len(run.history)) == (None, None, 4)


@pytest.mark.parametrize(
    ("best", "metrics"), [({}, {"test/accuracy": 0.6}), ({"epoch": 1}, {}), ({"epoch": 1}, {"test/accuracy": math.nan})]
)
def test_only_a_test_of_the_best_weights_counts_as_one(tmp_path, best, metrics):
    assert read_run(write_run(tmp_path / "run", best=best, metrics=metrics)).best_test is None


def test_a_run_without_results_is_unfinished(tmp_path):
    folder = write_run(tmp_path / "run", without=("results.json",))
    assert reason(folder).startswith("unfinished: got no results.json")


def test_a_run_without_configuration_is_broken(tmp_path):
    assert reason(write_run(tmp_path / "run", without=("config.yaml",))).startswith("broken: got no config.yaml")


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("results.json", '{"aggregator": "SAN", ', "broken: got results.json, which is not JSON (Expecting property"),
        ("results.json", "", "broken: got results.json, which is not JSON"),
        ("results.json", "[1, 2]", "broken: got results.json with [1, 2], expected a mapping"),
        ("results.json", "[" * 200_000, "broken: got results.json, which is not JSON"),
        ("results.json", "\udc80", "broken: got results.json, which is not JSON ('utf-8' codec"),
        ("config.yaml", "a: [1", "broken: got config.yaml, which is not YAML (while parsing"),
        ("config.yaml", "a: !!python/object/apply:os.getcwd []", "broken: got config.yaml, which is not YAML"),
        ("config.yaml", "- a\n- b", "broken: got config.yaml with ['a', 'b'], expected a mapping"),
        ("config.yaml", "", "broken: got config.yaml with None, expected a mapping"),
    ],
)
def test_files_that_are_something_else_are_named(tmp_path, file, content, expected):
    folder = write_run(tmp_path / "run")
    (folder / file).write_bytes(content.encode(errors="surrogateescape"))
    assert reason(folder).startswith(expected)


@pytest.mark.parametrize("file", ["results.json", "config.yaml"])
def test_files_that_cannot_be_read_are_named(tmp_path, file):
    folder = write_run(tmp_path / "run")
    (folder / file).unlink()
    (folder / file).mkdir()
    assert reason(folder) == f"broken: got {file}, which cannot be read (Is a directory)"


@pytest.mark.parametrize("name", ["aggregator", "data", "width", "seed", "epochs", "curves"])
def test_what_is_needed_is_named(tmp_path, name):
    assert f"got no {name} in results.json" in reason(write_run(tmp_path / "missing", without=(name,)))
    folder = write_run(tmp_path / "wrong")
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | {name: True}))
    assert f"got {name} True in results.json, expected a" in reason(folder)


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ([], "got no curves in results.json and --curves.every_n_epochs 1, expected curves; train it with"),
        ([3], "got 3 as row 1 of the curves in results.json"),
        (spoilt(2, **{"curve/test_accuracy": None}), "got no curve/test_accuracy in row 3 of the curves"),
        (spoilt(3, **{"curve/test_loss": None}), "got no curve/test_loss in row 4"),
        (spoilt(0, **{"curve/train_loss": None}), "got no curve/train_loss in row 1"),
        (spoilt(1, **{"curve/train_accuracy": math.nan}), "got curve/train_accuracy nan in row 2"),
        (spoilt(1, **{"curve/val_loss": math.inf}), "got curve/val_loss inf in row 2"),
        (spoilt(1, **{"curve/test_loss": "0.5"}), "got curve/test_loss 0.5 in row 2"),
        (spoilt(1, **{"curve/test_loss": True}), "got curve/test_loss True in row 2"),
        (spoilt(1, **{"curve/test_loss": 10**400}), "got curve/test_loss 1000"),
        (spoilt(1, epoch=1), "got the epochs [1, 1, 3, 4]"),
        (spoilt(1, epoch=3), "got the epochs [1, 3, 3, 4]"),
        (spoilt(0, epoch=0), "got the epochs [0, 2, 3, 4]"),
        (spoilt(1, epoch=1.5), "got the epochs [1, 1.5, 3, 4]"),
    ],
)
def test_curves_that_cannot_be_drawn_are_named(tmp_path, curves, expected):
    said = reason(write_run(tmp_path / "run", curves=curves, epochs=4))
    assert said.startswith(f"broken: {expected}")
    assert len(said) < 300


@pytest.mark.parametrize(
    ("epochs", "measured", "every", "whole"),
    [(10, 8, 4, True), (10, 4, 4, False), (10, 9, 1, False), (10, 10, 1, True), (10, 9, "x", False)],
)
def test_curves_that_stop_before_the_training_are_broken(tmp_path, epochs, measured, every, whole):
    step = every if isinstance(every, int) else 1
    curves = history(measured, every=step)
    folder = write_run(tmp_path / "run", epochs=epochs, settings={"curves.every_n_epochs": every}, curves=curves)
    if whole:
        assert read_run(folder).epochs == epochs
    else:
        assert reason(folder) == f"broken: got curves up to epoch {measured} of {epochs}, expected them to the end"


def test_curves_switched_off_are_said(tmp_path):
    folder = write_run(tmp_path / "run", settings={"curves.every_n_epochs": 0}, curves=[])
    assert "--curves.every_n_epochs 0" in reason(folder)


def test_the_name_of_the_folder_says_when_it_started(tmp_path):
    first = write_run(tmp_path / "2026-01-02_03-04-05_aaaaaa")
    second = write_run(tmp_path / "2026-01-02_03-04-06_000000")
    named = write_run(tmp_path / "mine")
    os.utime(first / "results.json", (2e9, 2e9))
    os.utime(named / "results.json", (1e9, 1e9))
    assert read_run(second).started - read_run(first).started == 1
    assert read_run(named).started == 1e9
