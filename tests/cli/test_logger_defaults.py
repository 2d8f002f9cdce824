from pathlib import Path

import pytest
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from set_aggregation.cli.logger_defaults import put_into, wandb_loggers
from set_aggregation.loggers import SafeWandbLogger
from set_aggregation.runs.directory import RunDirectory

RUN = RunDirectory("digits", Path("logs"), "first")
TAGS = ["SAN", "CIFAR10", "M=1024"]
SAFE = "set_aggregation.loggers.wandb.SafeWandbLogger"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("MODE", "SWEEP_ID", "PROJECT", "NAME", "RUN_GROUP", "TAGS"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)


def wandb_arguments(class_path="lightning.pytorch.loggers.WandbLogger", **given):
    """The arguments of a W&B logger after it was put into the run."""
    arguments = Namespace(save_dir=".", version=None, name=None, group=None, mode=None, tags=None, project=None)
    arguments.update(Namespace(**given))
    logger = Namespace(class_path=class_path, init_args=arguments)
    put_into(RUN, logger, TAGS)
    assert logger.class_path == SAFE
    return logger.init_args


@pytest.mark.parametrize("name", ["CSVLogger", "TensorBoardLogger"])
def test_files_are_in_the_folder_of_the_run(name):
    arguments = Namespace(save_dir=".", name="x", version=None)
    logger = Namespace(class_path=f"lightning.pytorch.loggers.{name}", init_args=arguments)
    put_into(RUN, logger, TAGS)
    classes = {"CSVLogger": "set_aggregation.loggers.csv.MetricsFile"}
    assert logger.class_path == classes.get(name, f"lightning.pytorch.loggers.{name}")
    assert Path(arguments.save_dir, arguments.name, arguments.version) == RUN.folder


@pytest.mark.parametrize("class_path", ["lightning.pytorch.loggers.WandbLogger", SAFE])
def test_wandb_run_has_the_name_of_the_run_and_an_id_of_its_own(class_path):
    assert wandb_arguments(class_path) == Namespace(
        **{"save_dir": "logs/digits/first", "version": None, "name": "first", "group": "digits", "mode": "offline"},
        **{"tags": TAGS, "project": "set-aggregation"},
    )


def test_environment_of_wandb_is_respected(monkeypatch):
    for name, value in {"PROJECT": "p", "NAME": "n", "RUN_GROUP": "g", "TAGS": "a,b", "MODE": "online"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    arguments = wandb_arguments(tags=("paper",))
    assert (arguments.project, arguments.name, arguments.group) == ("p", "n", "g")
    assert (arguments.tags, arguments.mode) == (["paper", "a", "b", *TAGS], "online")
    given = {"version": "id", "name": "mine", "group": "ours", "mode": "disabled", "project": "this"}
    arguments = wandb_arguments(**given)
    assert {name: arguments[name] for name in given} == given


@pytest.mark.parametrize(("mode", "expected"), [(None, "online"), ("offline", "offline")])
def test_run_of_a_sweep_is_online(monkeypatch, mode, expected):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    assert wandb_arguments().mode == expected


def test_logger_of_another_class_is_left_as_it_is():
    logger = Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))
    put_into(RUN, logger, TAGS)
    assert logger == Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))


def test_wandb_loggers_are_found(tmp_path):
    ours = SafeWandbLogger(save_dir=tmp_path)
    assert wandb_loggers([CSVLogger(tmp_path), ours]) == [ours]
