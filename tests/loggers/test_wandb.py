"""Real W&B runs, offline or with a server of this machine: nobody is logged in anywhere."""

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import pytest
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from set_aggregation.loggers import SafeWandbLogger
from tests.support.wandb_file import read
from tests.support.wandb_server import WandbServer

pytestmark = pytest.mark.slow

KEY = "0123456789" * 4
CONFIG = {"model": {"sizes": [1, None, {"scale": 2.5}], "name": None}, "empty": {}, "list": [], "seed": 0}
CONFUSION = np.array([[5, 1, 0], [2, 3, 4], [0, 0, 7]])
NAMES = ["ant", "bee", "cat"]
MISCLASSIFICATIONS = [
    (np.full((8, 6, 3), 200, np.uint8), "ant", "bee", 4.321, 0),
    (np.zeros((8, 6), np.uint8), "cat", "ant", 1.0, 1),
]


def forget():
    """Ends W&B's process, which knows the environment of its start."""
    import wandb  # takes a second

    wandb.teardown()


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """As on a machine where nobody has used W&B."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with patch.dict(os.environ, {**kept, "HOME": str(home)}, clear=True):
        forget()
        yield home
        forget()


def start(logger):
    return logger.experiment


def offline(folder, **arguments):
    return SafeWandbLogger(project="tests", save_dir=folder, mode="offline", **arguments)


def end(logger, folder, exit_code=0):
    """Ends a run, and reads its file."""
    logger.finish(exit_code)
    forget()  # only then all is in the file
    return read(folder)


def services():
    """W&B's own processes of this one."""
    found = [child for child in psutil.Process().children() if child.name() == "wandb-core"]
    return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run with all there is in it, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    logger = offline(folder, log_model=True, name="the name", group="the group", tags=["SAN", "M=8"])
    start(logger)
    stored = (folder / "wandb_run_id").read_text()
    logger.log_hyperparams(CONFIG)
    for epoch, accuracy in enumerate((0.25, 0.75, 0.5)):
        logger.log_metrics({"train/loss": 1.0 - epoch / 4, "epoch": epoch}, 2 * epoch + 1)
        logger.log_metrics({"val/accuracy": accuracy, "val/loss": 1 - accuracy, "epoch": epoch}, 2 * epoch + 1)
        values = {"train_accuracy": epoch, "val_loss": 2.0 - epoch, "gap": epoch % 2}
        logger.log_metrics({f"curve/{name}": value for name, value in values.items()} | {"epoch": epoch}, 2 * epoch + 1)
    keeper = ModelCheckpoint(folder, monitor="val/accuracy")
    best = folder / "best.ckpt"
    best.write_bytes(b"weights")
    keeper.best_model_path, keeper.best_model_score = str(best), torch.tensor(0.75)
    logger.after_save_checkpoint(keeper)
    logger.finalize("success")
    logger.log_metrics({"test/accuracy": 0.7, "epoch": 3}, 6)
    logger.log_evaluation(CONFUSION, NAMES, MISCLASSIFICATIONS)
    run = end(logger, folder)
    assert logger.offline_folder.parent == folder / "wandb"
    assert (stored, logger.url) == (run.run_id, None)
    assert "WANDB_DATA_DIR" not in os.environ
    return run, folder


class TestRecorded:
    def test_names_and_exit_code(self, recorded):
        run = recorded[0]
        assert (run.name, run.project, run.group) == ("the name", "tests", "the group")
        assert (run.tags, run.resumes, run.exit_code) == (["SAN", "M=8"], True, 0)

    def test_config_is_complete(self, recorded):
        config = dict(recorded[0].config)
        config.pop("_wandb")
        assert config == CONFIG

    def test_epochs_count_from_1(self, recorded):
        run = recorded[0]
        assert run.columns("epoch", "trainer/global_step", "val/accuracy") == [(1, 1, 0.25), (2, 3, 0.75), (3, 5, 0.5)]
        assert run.columns("epoch", "test/accuracy") == [(3, 0.7)]

    def test_axes(self, recorded):
        axes = recorded[0].x_axes
        for name in ("curve/train_accuracy", "curve/val_loss", "curve/gap", "val/accuracy", "val/loss"):
            assert axes[name] == "epoch"
        assert axes["train/loss"] == "trainer/global_step"

    def test_summary_has_best_and_last(self, recorded):
        summary = recorded[0].summary
        assert summary["val/accuracy"] == {"max": 0.75, "last": 0.5}
        assert summary["val/loss"] == {"min": 0.25, "last": 0.5}
        assert summary["curve/train_accuracy"] == {"max": 2, "last": 2}
        assert (summary["curve/gap"], summary["test/accuracy"]) == (0, 0.7)

    def test_confusion_matrix(self, recorded):
        run, folder = recorded
        panel = run.config["_wandb"]["visualize"]["test/confusion_matrix"]["panel_config"]
        assert panel["panelDefId"] == "wandb/confusion_matrix/v1"
        (file,) = folder.rglob("files/media/table/test/confusion_matrix_table*.json")
        counts = {(truth, answer): count for truth, answer, count in json.loads(file.read_text())["data"]}
        assert counts == {(t, p): CONFUSION[i, j] for i, t in enumerate(NAMES) for j, p in enumerate(NAMES)}

    def test_misclassified_images(self, recorded):
        run, folder = recorded
        ((images,),) = run.columns("test/worst_misclassifications")
        assert images["captions"] == ["ant classified as bee, loss 4.32", "cat classified as ant, loss 1.00"]
        for file, (pixels, *_) in zip(images["filenames"], MISCLASSIFICATIONS, strict=True):
            (path,) = folder.rglob(Path(file).name)
            with Image.open(path) as image:
                assert np.array_equal(np.asarray(image), pixels)

    def test_the_best_checkpoint_is_the_only_artifact(self, recorded):
        run, folder = recorded
        (model,) = [artifact for artifact in run.artifacts if artifact.type == "model"]
        assert (model.name, sorted(model.aliases)) == (f"model-{run.run_id}", ["best", "latest"])
        assert json.loads(model.metadata)["score"] == 0.75
        (content,) = model.manifest.contents
        assert (content.path, Path(content.local_path)) == ("model.ckpt", folder / "best.ckpt")

    def test_nothing_is_in_the_home_folder(self, recorded, home):
        logs = home / ".cache" / "wandb" / "logs"  # of its process
        assert [path for path in home.rglob("*") if path.is_file() and path.parent != logs] == []

    def test_resumed_run_has_the_same_id(self, recorded):
        run, folder = recorded
        logger = offline(folder, version="another")
        start(logger)
        logger.log_metrics({"train/loss": 1.0}, 7)
        logger.finish(0)
        forget()
        assert logger.version == run.run_id
        assert read(logger.offline_folder).run_id == run.run_id
        assert len(list(folder.glob("wandb/offline-run-*"))) == 2

    def test_run_of_the_same_name_has_another_id(self, recorded, tmp_path):
        run = end_of_start(offline(tmp_path, name="the name"), tmp_path)
        assert run.name == "the name"
        assert run.run_id != recorded[0].run_id


def end_of_start(logger, folder):
    start(logger)
    return end(logger, folder)


def test_given_id(tmp_path):
    assert end_of_start(offline(tmp_path, version="given"), tmp_path).run_id == "given"


def test_run_of_a_sweep_is_what_its_agent_says(tmp_path, monkeypatch):
    agent = {"WANDB_RUN_ID": "agents-id", "WANDB_PROJECT": "agents", "WANDB_SWEEP_ID": "sweep1"}
    for name, value in agent.items():
        monkeypatch.setenv(name, value)
    run = end_of_start(offline(tmp_path, version="ours", name="the name", entity="us"), tmp_path)
    assert (run.run_id, run.project, run.name) == ("agents-id", "agents", "the name")


class TestNoServer:
    """Online was asked for: one warning, and an offline run that is whole."""

    @pytest.mark.parametrize("key", [None, KEY], ids=["nobody is logged in", "no server"])
    def test_falls_back_to_offline(self, tmp_path, monkeypatch, key):
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
        if key:
            monkeypatch.setenv("WANDB_API_KEY", key)
        forget()
        logger = SafeWandbLogger(project="tests", save_dir=tmp_path, mode="online")
        with pytest.warns(UserWarning, match="cannot be reached .*offline") as warned:
            start(logger)
        logger.log_metrics({"train/loss": 1.0}, 1)
        logger.finish(0)
        forget()
        assert (len(warned), logger.url) == (1, None)
        run = read(logger.offline_folder)
        assert run.columns("train/loss") == [(1.0,)]
        assert run.run_id == (tmp_path / "wandb_run_id").read_text()


@pytest.mark.e2e
def test_online(tmp_path, monkeypatch, capsys):
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "online")
    forget()
    logger = SafeWandbLogger(project="tests", save_dir=tmp_path)
    start(logger)
    logger.log_hyperparams(CONFIG)
    logger.log_metrics({"train/loss": 1.0}, 1)
    logger.finish(0)
    forget()
    server.stop()
    assert logger.url.startswith(server.url)
    assert (capsys.readouterr().out, logger.offline_folder) == (f"W&B: {logger.url}\n", None)
    sent = [json.loads(each["config"]) for each in server.contents("UpsertBucket") if each.get("config")]
    assert sent[-1]["model"]["value"] == CONFIG["model"]
    assert any('"train/loss":1' in json.dumps(each).replace("\\", "") for each in server.contents("file_stream"))


class TestFailure:
    """One warning, and training continues."""

    def test_killed_process(self, tmp_path, monkeypatch):
        (tmp_path / "catboost.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        logger = offline(tmp_path)
        logger.log_metrics({"train/loss": 1.0}, 1)
        for child in services():
            child.send_signal(signal.SIGKILL)
            child.wait(60)
        with pytest.warns(UserWarning, match="W&B failed .*continues without") as warned:
            logger.log_metrics({"train/loss": 1.0}, 2)
        logger.log_metrics({"train/loss": 1.0}, 3)
        logger.finalize("success")
        logger.finish(0)
        assert len(warned) == 1
        import catboost  # noqa: F401  # W&B counts imports of some modules

        monkeypatch.delitem(sys.modules, "catboost")

    def test_value_that_wandb_does_not_take(self, tmp_path):
        logger = offline(tmp_path)
        logger.log_metrics({"train/loss": 1.0}, 1)
        with pytest.warns(UserWarning, match="W&B failed") as warned:
            logger.log_metrics({"x": 1.0, 3: 1.0}, 2)
        logger.log_metrics({"train/loss": 3.0}, 3)
        logger.finish(0)
        assert len(warned) == 1
        assert read(tmp_path).columns("train/loss") == [(1.0,)]

    def test_at_the_end(self, tmp_path):
        logger = offline(tmp_path)
        logger.log_metrics({"train/loss": 1.0}, 1)
        with (
            patch.object(type(logger.experiment), "finish", side_effect=TimeoutError("too slow")),
            pytest.warns(UserWarning, match=r"W&B failed .*too slow.*wandb sync") as warned,
        ):
            logger.finish(0)
        assert len(warned) == 1
        assert "WANDB_DATA_DIR" not in os.environ

    def test_at_the_start(self, tmp_path):
        (tmp_path / "file").touch()
        logger = offline(tmp_path / "file")
        with pytest.warns(UserWarning, match="W&B failed") as warned:
            start(logger)
        logger.log_metrics({"train/loss": 1.0}, 1)
        logger.finish(0)
        assert len(warned) == 1


def test_other_ranks_make_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = offline(tmp_path, log_model=True)
    start(logger)
    logger.log_metrics({"train/loss": 1.0}, 1)
    logger.log_hyperparams(CONFIG)
    logger.log_evaluation(CONFUSION, NAMES, MISCLASSIFICATIONS)
    logger.experiment.log({"x": 1})
    logger.finish(0)
    assert list(tmp_path.iterdir()) == []


def test_disabled_makes_nothing(tmp_path):
    logger = SafeWandbLogger(save_dir=tmp_path, mode="disabled")
    logger.log_metrics({"train/loss": 1.0}, 1)
    logger.finish(0)
    assert (logger.offline_folder, logger.url, list(tmp_path.iterdir())) == (None, None, [])


def test_what_comes_after_the_end_is_ignored(tmp_path):
    logger = offline(tmp_path)
    start(logger)
    logger.finish(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.log_metrics({"train/loss": 1.0}, 1)
        logger.experiment.log({"x": 1})
        logger.finish(1)
