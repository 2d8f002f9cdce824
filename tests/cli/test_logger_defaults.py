from pathlib import Path
from unittest.mock import Mock

import pytest
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from set_aggregation.callbacks import RunDirectory
from set_aggregation.cli.logger_defaults import finish_wandb, put_into, start_wandb
from set_aggregation.loggers.wandb import BackgroundWandbLogger

RUN = RunDirectory("digits", Path("logs"), "first")
TAGS = ["SAN", "CIFAR10", "M=1024"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Nothing is said about W&B."""
    for name in ("WANDB_MODE", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)


def wandb_settings(class_name="WandbLogger", **given):
    arguments = Namespace(save_dir=".", version=None, name=None, group=None, mode=None, tags=None)
    arguments.update(Namespace(**given))
    return Namespace(class_path=f"lightning.pytorch.loggers.{class_name}", init_args=arguments)


@pytest.mark.parametrize("name", ["CSVLogger", "TensorBoardLogger"])
def test_files_lie_in_the_folder_of_the_run(name):
    logger = Namespace(
        class_path=f"lightning.pytorch.loggers.{name}", init_args=Namespace(save_dir=".", name="x", version=None)
    )
    put_into(RUN, logger, TAGS)
    assert (
        logger.class_path
        == {
            "CSVLogger": "set_aggregation.loggers.csv.MetricsFile",
            "TensorBoardLogger": "lightning.pytorch.loggers.TensorBoardLogger",
        }[name]
    )
    arguments = logger.init_args
    assert Path(arguments.save_dir, arguments.name, arguments.version) == RUN.folder


@pytest.mark.parametrize("name", ["WandbLogger", "BackgroundWandbLogger"])
def test_wandb_run_is_named_by_the_run(name):
    logger = wandb_settings(name)
    put_into(RUN, logger, TAGS)
    assert logger.init_args == Namespace(
        save_dir="logs/digits/first", version="first", name="first", group="digits", mode="offline", tags=TAGS
    )


def test_wandb_does_not_stop_training():
    logger = wandb_settings()
    put_into(RUN, logger, TAGS)
    assert logger.class_path == "set_aggregation.loggers.wandb.BackgroundWandbLogger"


def test_what_was_given_for_wandb_stays():
    logger = wandb_settings(version="id", name="mine", group="ours", mode="online", tags=("paper",))
    put_into(RUN, logger, TAGS)
    arguments = logger.init_args
    assert (arguments.version, arguments.name, arguments.group, arguments.mode) == ("id", "mine", "ours", "online")
    assert arguments.tags == ["paper", *TAGS]
    assert arguments.save_dir == "logs/digits/first"


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
@pytest.mark.parametrize("sweep", [False, True])
def test_wandb_mode_of_the_environment(monkeypatch, mode, sweep):
    monkeypatch.setenv("WANDB_MODE", mode)
    if sweep:
        monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    logger = wandb_settings()
    put_into(RUN, logger, [])
    assert logger.init_args.mode == mode


def test_run_of_a_sweep_is_online(monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    logger = wandb_settings()
    put_into(RUN, logger, [])
    assert logger.init_args.mode == "online"


def test_logger_that_is_not_known_is_left_alone():
    logger = Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))
    put_into(RUN, logger, TAGS)
    assert logger == Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))


def test_start_and_finish_are_for_wandb_only(tmp_path):
    logger = Mock(spec=BackgroundWandbLogger)
    loggers = [CSVLogger(tmp_path), logger]
    start_wandb(loggers)
    logger.start.assert_called_once_with()
    logger.finish.assert_not_called()
    finish_wandb(loggers, 1)
    logger.finish.assert_called_once_with(1)
