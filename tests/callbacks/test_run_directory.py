import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import SimpleNamespace

import pytest

import set_aggregation.callbacks.run_directory as module
from set_aggregation.callbacks import RunDirectory

CONFIG = "run:\n  name: null\n"


@pytest.fixture
def frozen_time(monkeypatch):
    """All starts fall into the same second."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 6, 1, 12, 30, 15)

    monkeypatch.setattr(module, "datetime", Frozen)


def test_name_says_when(frozen_time):
    assert RunDirectory().name.startswith("2025-06-01_12-30-15_")


def test_runs_of_one_second_differ(frozen_time):
    assert len({RunDirectory().name for _ in range(100)}) == 100


def test_runs_of_one_seed_differ(frozen_time):
    names = set()
    for _ in range(20):
        random.seed(0)
        names.add(RunDirectory().name)
    assert len(names) == 20


def test_of_many_that_want_one_folder_one_gets_it(tmp_path):
    def create(number):
        try:
            RunDirectory("a", tmp_path, "same").create(str(number))
        except ValueError:
            return None
        return str(number)

    with ThreadPoolExecutor(8) as pool:
        winners = [winner for winner in pool.map(create, range(50)) if winner is not None]
    assert len(winners) == 1
    assert (tmp_path / "a" / "same" / "config.yaml").read_text() == winners[0]


def test_create_writes_the_config(tmp_path):
    run = RunDirectory("a", tmp_path / "logs", "b")
    run.create(CONFIG)
    assert run.config_file == tmp_path / "logs" / "a" / "b" / "config.yaml"
    assert run.config_file.read_text() == CONFIG


def test_folder_that_is_there_is_an_error_and_stays(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "precious").touch()
    run = RunDirectory("a", tmp_path, "b")
    with pytest.raises(ValueError, match=r"is there already.*--run\.name"):
        run.create(CONFIG)
    run.discard()
    assert (tmp_path / "a" / "b" / "precious").exists()


def test_file_in_the_way_stays(tmp_path):
    (tmp_path / "a").touch()
    run = RunDirectory("a", tmp_path, "b")
    with pytest.raises(ValueError, match=r"--run\.root"):
        run.create(CONFIG)
    run.discard()
    assert (tmp_path / "a").is_file()


def test_discard_takes_all_that_was_made(tmp_path):
    run = RunDirectory("a", tmp_path / "logs", "b")
    run.create(CONFIG)
    (run.folder / "wandb").mkdir()
    (run.folder / "wandb" / "file").touch()
    run.discard()
    assert list(tmp_path.iterdir()) == []


def test_discard_keeps_other_runs(tmp_path):
    RunDirectory("a", tmp_path, "other").create(CONFIG)
    run = RunDirectory("a", tmp_path, "b")
    run.create(CONFIG)
    run.discard()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]


def test_discard_keeps_runs_that_came_later(tmp_path):
    run = RunDirectory("a", tmp_path / "logs", "b")
    run.create(CONFIG)
    RunDirectory("a", tmp_path / "logs", "later").create(CONFIG)
    run.discard()
    assert [path.name for path in (tmp_path / "logs" / "a").iterdir()] == ["later"]


def test_discard_keeps_folders_that_were_there(tmp_path):
    (tmp_path / "a").mkdir()
    run = RunDirectory("a", tmp_path, "b")
    run.create(CONFIG)
    run.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_discard_before_create_does_nothing(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    RunDirectory("a", tmp_path, "b").discard()
    assert (tmp_path / "a" / "b").exists()


class Logger:
    def __init__(self):
        self.given = []

    def log_hyperparams(self, params):
        self.given.append(params)


@pytest.mark.parametrize(
    ("stage", "is_global_zero", "given"),
    [("fit", True, [{"run": {"name": None}, "labels": {"width": 8}}]), ("test", True, []), ("fit", False, [])],
)
def test_loggers_are_given_the_config(tmp_path, stage, is_global_zero, given):
    run = RunDirectory("a", tmp_path, "b")
    run.create(CONFIG, {"width": 8})
    logger = Logger()
    run.setup(SimpleNamespace(is_global_zero=is_global_zero, loggers=[logger]), None, stage)
    assert logger.given == given


def test_rehearsal_gives_no_config_to_loggers(tmp_path):
    logger = Logger()
    RunDirectory("a", tmp_path, "b").setup(SimpleNamespace(is_global_zero=True, loggers=[logger]), None, "fit")
    assert logger.given == []
