import dataclasses
import os

import pytest

from set_aggregation.reports.finished_run import read_run
from tests.support.run_folders import history, write_run


def reason(folder):
    with pytest.raises(ValueError, match=":") as raised:
        read_run(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


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


def test_a_test_of_the_last_weights_alone_is_not_that_of_the_best(tmp_path):
    assert read_run(write_run(tmp_path / "run", best={}, metrics={"test/accuracy": 0.6})).best_test is None


def test_a_run_without_results_is_unfinished(tmp_path):
    folder = write_run(tmp_path / "run", without=("results.json",))
    assert reason(folder).startswith("unfinished: got no results.json")


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("results.json", '{"aggregator": "SAN", ', "JSONDecodeError: Expecting property"),
        ("results.json", "[1, 2]", "TypeError"),
        ("results.json", "{}", "KeyError: 'aggregator'"),
        ("results.json", "\udc80", "UnicodeDecodeError"),
        ("config.yaml", "a: [1", "ParserError: while parsing"),
        ("config.yaml", "a: !!python/object/apply:os.getcwd []", "ConstructorError"),
        ("config.yaml", None, "FileNotFoundError"),
    ],
)
def test_files_that_are_something_else_are_named(tmp_path, file, content, expected):
    folder = write_run(tmp_path / "run")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content.encode(errors="surrogateescape"))
    assert reason(folder).startswith(f"broken: results.json or config.yaml cannot be read ({expected}")


def test_a_run_without_curves_is_named(tmp_path):
    folder = write_run(tmp_path / "run", settings={"curves.every_n_epochs": 0}, curves=[])
    assert reason(folder) == "broken: got no curves in results.json; train it with --curves.every_n_epochs 1"


def test_the_name_of_the_folder_says_when_it_started(tmp_path):
    first = write_run(tmp_path / "2026-01-02_03-04-05_aaaaaa")
    second = write_run(tmp_path / "2026-01-02_03-04-06_000000")
    named = write_run(tmp_path / "mine")
    os.utime(first / "results.json", (2e9, 2e9))
    os.utime(named / "results.json", (1e9, 1e9))
    assert read_run(second).started - read_run(first).started == 1
    assert read_run(named).started == 1e9
