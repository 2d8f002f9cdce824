import os
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from set_aggregation.callbacks import RunDirectory
from set_aggregation.loggers import finish_wandb, put_into, start_wandb

RUN = RunDirectory("digits", Path("logs"), "first")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Nobody is logged in, and nothing is said about W&B."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")  # set here, so that it is taken away again
    monkeypatch.setenv("WANDB_SILENT", "true")


def wandb_settings(**given):
    arguments = Namespace(save_dir=".", version=None, name=None, group=None, mode=None, **{})
    arguments.update(Namespace(**given))
    return Namespace(class_path="lightning.pytorch.loggers.WandbLogger", init_args=arguments)


@pytest.mark.parametrize("name", ["CSVLogger", "TensorBoardLogger"])
def test_files_lie_in_the_folder_of_the_run(name):
    logger = Namespace(
        class_path=f"lightning.pytorch.loggers.{name}", init_args=Namespace(save_dir=".", name="x", version=None)
    )
    put_into(RUN, logger)
    arguments = logger.init_args
    assert Path(arguments.save_dir, arguments.name, arguments.version) == RUN.folder


def test_wandb_run_is_named_by_the_run():
    logger = wandb_settings()
    put_into(RUN, logger)
    assert logger.init_args == Namespace(
        save_dir="logs/digits/first", version="first", name="first", group="digits", mode="offline"
    )


def test_what_was_given_for_wandb_stays():
    logger = wandb_settings(version="id", name="mine", group="ours", mode="online")
    put_into(RUN, logger)
    arguments = logger.init_args
    assert (arguments.version, arguments.name, arguments.group, arguments.mode) == ("id", "mine", "ours", "online")
    assert arguments.save_dir == "logs/digits/first"


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_wandb_mode_of_the_environment(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    logger = wandb_settings()
    put_into(RUN, logger)
    assert logger.init_args.mode == mode


@pytest.mark.parametrize(("mode", "silent"), [("offline", "true"), ("online", None)])
def test_wandb_is_silent_offline_only(monkeypatch, mode, silent):
    monkeypatch.delenv("WANDB_SILENT")
    put_into(RUN, wandb_settings(mode=mode))
    assert os.environ.pop("WANDB_SILENT", None) == silent


def test_logger_that_is_not_known_is_left_alone():
    logger = Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))
    put_into(RUN, logger)
    assert logger == Namespace(class_path="some.OtherLogger", init_args=Namespace(save_dir="there", name="x"))


@pytest.fixture
def init(monkeypatch):
    """W&B's init, which notes how it was called and starts nothing."""
    import wandb

    run = Mock(spec=wandb.Run, config={})
    init = Mock(return_value=run)
    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "run", None)
    return init


def modes(init):
    return [call.kwargs["mode"] for call in init.call_args_list]


def test_offline_starts_offline(tmp_path, init):
    start_wandb([CSVLogger(tmp_path), WandbLogger(save_dir=tmp_path, mode="offline")])
    assert modes(init) == ["offline"]


def test_online_with_a_login_starts_online(tmp_path, init, monkeypatch):
    monkeypatch.setattr("wandb.Api", lambda: SimpleNamespace(api_key="k" * 40))
    start_wandb([WandbLogger(save_dir=tmp_path, mode="online")])
    assert modes(init) == ["online"]


def test_online_without_a_login_is_kept_offline(tmp_path, init, monkeypatch):
    monkeypatch.setattr("wandb.Api", lambda: SimpleNamespace(api_key=None))
    with pytest.warns(UserWarning, match=r"W&B cannot be reached \(nobody is logged in.*kept offline.*wandb sync"):
        start_wandb([WandbLogger(save_dir=tmp_path, mode="online")])
    assert modes(init) == ["offline"]


def test_online_that_cannot_be_reached_is_kept_offline(tmp_path, init, monkeypatch):
    import wandb

    monkeypatch.setattr("wandb.Api", lambda: SimpleNamespace(api_key="k" * 40))
    init.side_effect = [wandb.errors.CommError("timed out"), init.return_value]
    with pytest.warns(UserWarning, match=r"cannot be reached \(timed out\)"):
        start_wandb([WandbLogger(save_dir=tmp_path, mode="online")])
    assert modes(init) == ["online", "offline"]


def test_nobody_logged_in_is_found_without_a_question(tmp_path, init):
    """W&B's own look at who is logged in, without a network."""
    with pytest.warns(UserWarning, match="kept offline"):
        start_wandb([WandbLogger(save_dir=tmp_path, mode="online")])
    assert modes(init) == ["offline"]


@pytest.mark.parametrize("exit_code", [0, 1])
def test_finish_ends_the_run(tmp_path, init, exit_code):
    logger = WandbLogger(save_dir=tmp_path, mode="offline")
    start_wandb([logger])
    finish_wandb([CSVLogger(tmp_path), logger], exit_code)
    init.return_value.finish.assert_called_once_with(exit_code=exit_code)


def test_finish_starts_nothing(tmp_path, init):
    finish_wandb([WandbLogger(save_dir=tmp_path, mode="offline")], 1)
    assert init.call_count == 0
