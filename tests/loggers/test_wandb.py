"""Real W&B runs, offline or with a server of this file: nobody is logged in anywhere."""

import atexit
import contextlib
import copy
import csv
import gc
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import pytest
import torch
import wandb
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader
from wandb.sdk.lib.service.service_client import ServiceClient

from set_aggregation.loggers import wandb_service
from set_aggregation.loggers.wandb import BackgroundWandbLogger
from tests.support.wandb_file import read
from tests.support.wandb_server import WandbServer

KEY = "0123456789" * 4
CONFIG = {"model": {"sizes": [1, None, {"scale": 2.5}], "name": None}, "empty": {}, "list": [], "seed": 0}
SWEEP = {  # as an agent sets them
    **{"WANDB_RUN_ID": "agents-id", "WANDB_PROJECT": "agents"},
    **{"WANDB_ENTITY": "agents-team", "WANDB_SWEEP_ID": "sweep1"},
}
CONFUSION = np.array([[5, 1, 0], [2, 3, 4], [0, 0, 7]])
NAMES = ["ant", "bee", "cat"]
MISTAKES = [
    (np.full((8, 6, 3), 200, np.uint8), "ant", "bee", 4.321),
    (np.zeros((8, 6), np.uint8), "cat", "ant", 1.0),
]


class Logger(BackgroundWandbLogger):
    """Gives up sooner."""

    seconds_for_server = 1.0


@contextlib.contextmanager
def clean_wandb(home):
    """As on a machine where nobody has used W&B."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with patch.dict(os.environ, {**kept, "HOME": str(home)}, clear=True):
        wandb.teardown()  # what it knows of the environment
        try:
            yield
        finally:
            wandb.teardown()


@pytest.fixture(autouse=True)
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with clean_wandb(home):
        yield home


def offline(folder, **arguments):
    return Logger(project="tests", save_dir=folder, mode="offline", **arguments)


def services():
    """W&B's own processes of this one."""
    found = [child for child in psutil.Process().children() if child.name() == "wandb-core"]
    return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]


def signal_services(number):
    for child in services():
        child.send_signal(number)
        if number == signal.SIGKILL:
            child.wait(60)


class Model(LightningModule):
    """Whose accuracy rises and falls again."""

    accuracies = (0.25, 0.75, 0.5)

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/accuracy", self.accuracies[self.current_epoch])
        self.log("val/loss", 1 - self.accuracies[self.current_epoch])

    def test_step(self, batch, batch_idx):
        self.log("test/accuracy", 0.7)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def train_dataloader(self):
        return DataLoader(torch.ones(4, 1), batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


def train(folder, *loggers, model=None, test=True):
    """Three epochs, and a test."""
    best = ModelCheckpoint(folder / "ckpt", filename="best", monitor="val/accuracy", mode="max")
    last = ModelCheckpoint(folder / "ckpt", filename="last")
    trainer = Trainer(
        **{"accelerator": "cpu", "max_epochs": 3, "log_every_n_steps": 1, "default_root_dir": folder},
        **{"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0},
        logger=list(loggers),
        callbacks=[best, last],
    )
    model = model or Model()
    with pytest.MonkeyPatch.context() as machine:
        machine.setattr(os, "cpu_count", lambda: 1)  # or it is advised to use more workers
        machine.setattr(os, "sched_getaffinity", lambda pid: {0})
        trainer.fit(model)
        if test:
            trainer.test(model, verbose=False)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run with all there is in it, its folder and its home."""
    folder, home = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("home")
    with clean_wandb(home):
        names = {"version": "the-id", "name": "the name", "group": "the group", "tags": ["SAN", "M=8"]}
        logger = offline(folder, log_model=True, **names)
        logger.start()
        logger.log_hyperparams(CONFIG)
        train(folder, CSVLogger(folder, name="csv", version=""), logger)
        for epoch in range(3):
            values = {"train_accuracy": epoch, "val_accuracy": -epoch, "val_loss": 2.0 - epoch, "gap": epoch % 2}
            logger.log_metrics({"epoch": epoch} | {f"curve/{name}": value for name, value in values.items()}, 2 * epoch)
        logger.log_evaluation(CONFUSION, NAMES, MISTAKES)
        logger.finish(0)
        assert "WANDB_DATA_DIR" not in os.environ
    assert logger.offline_folder.parent == folder / "wandb"
    return read(folder), folder, home


class TestRecorded:
    def test_run(self, recorded):
        run = recorded[0]
        assert (run.run_id, run.name, run.project, run.group) == ("the-id", "the name", "tests", "the group")
        assert run.tags == ["SAN", "M=8"]
        assert run.resumes

    def test_exit_code(self, recorded):
        assert recorded[0].exit_code == 0

    def test_config_is_whole(self, recorded):
        config = dict(recorded[0].config)
        config.pop("_wandb")
        assert config == CONFIG

    def test_values_are_those_of_the_csv_file(self, recorded):
        run, folder, _ = recorded
        with (folder / "csv" / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {"train/loss", "val/accuracy", "val/loss", "test/accuracy"} <= set(rows[0])
        for name in rows[0]:
            if name != "step":
                step = "trainer/global_step"
                expected = [(float(row[name]), float(row["step"])) for row in rows if row[name]]
                ours = [row for row in run.history if not any(key.startswith("curve/") for key in row)]
                assert [(row[name], row[step]) for row in ours if name in row] == expected, name

    @pytest.mark.parametrize(
        "name",
        [
            *("curve/train_accuracy", "curve/val_accuracy", "curve/val_loss", "curve/gap"),
            *("val/accuracy", "val/loss", "test/accuracy"),
        ],
    )
    def test_epoch_is_the_x_axis_of_what_each_epoch_has(self, recorded, name):
        run = recorded[0]
        assert run.x_axes[name] == "epoch"
        assert run.columns(name, "epoch")

    def test_step_is_the_x_axis_of_all_else(self, recorded):
        run = recorded[0]
        assert run.x_axes["*"] == "trainer/global_step"
        assert "train/loss" not in run.x_axes
        assert run.columns("train/loss", "trainer/global_step")

    def test_summary_has_best_and_last(self, recorded):
        summary = recorded[0].summary
        assert summary["val/accuracy"] == {"max": 0.75, "last": 0.5}
        assert summary["val/loss"] == {"min": 0.25, "last": 0.5}
        assert summary["curve/train_accuracy"] == {"max": 2, "last": 2}
        assert summary["curve/val_accuracy"] == {"max": 0, "last": -2}
        assert summary["curve/val_loss"] == {"min": 0, "last": 0}
        assert (summary["curve/gap"], summary["test/accuracy"]) == (0, pytest.approx(0.7))

    def test_confusion_matrix(self, recorded):
        run, folder, _ = recorded
        panel = run.config["_wandb"]["visualize"]["test/confusion_matrix"]["panel_config"]
        assert panel["panelDefId"] == "wandb/confusion_matrix/v1"
        assert set(panel["fieldSettings"]) == {"Actual", "Predicted", "nPredictions"}
        (file,) = folder.rglob("files/media/table/test/confusion_matrix_table*.json")
        table = json.loads(file.read_text())
        assert table["columns"] == ["Actual", "Predicted", "nPredictions"]
        counts = {(truth, answer): count for truth, answer, count in table["data"]}
        expected = {(t, p): CONFUSION[i, j] for i, t in enumerate(NAMES) for j, p in enumerate(NAMES)}
        assert counts == expected

    def test_worst_mistakes(self, recorded):
        run, folder, _ = recorded
        ((images,),) = [[row["test/worst_mistakes"]] for row in run.history if "test/worst_mistakes" in row]
        assert images["captions"] == ["ant taken for bee, loss 4.32", "cat taken for ant, loss 1.00"]
        for file, (pixels, *_) in zip(images["filenames"], MISTAKES, strict=True):
            (path,) = folder.rglob(Path(file).name)
            assert np.array_equal(read_image(path), pixels)

    def test_the_best_checkpoint_is_the_only_artifact(self, recorded):
        run, folder, _ = recorded
        (model,) = [artifact for artifact in run.artifacts if artifact.type == "model"]
        assert model.name == "model-the-id"
        assert set(model.aliases) == {"best", "latest"}
        assert json.loads(model.metadata) == {"score": 0.75, "monitor": "val/accuracy"}
        (content,) = model.manifest.contents
        assert content.path == "model.ckpt"
        assert Path(content.local_path) == folder / "ckpt" / "best.ckpt"

    def test_nothing_lies_in_the_home(self, recorded):
        _, folder, home = recorded
        logs = home / ".cache" / "wandb" / "logs"  # of its process
        assert [path for path in home.rglob("*") if path.is_file() and path.parent != logs] == []
        assert list((folder / "wandb" / "artifacts" / "staging").iterdir())


def read_image(path):
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


class TestArtifact:
    def test_is_found_from_other_folders(self, tmp_path, monkeypatch):
        """Such as the one in which `wandb sync` is called."""
        monkeypatch.chdir(tmp_path)
        Path("best.ckpt").write_bytes(b"weights")
        logger = offline("run", log_model=True)
        logger._best = "best.ckpt", {}
        logger.start()
        logger.finalize("success")
        logger.finish(0)
        (artifact,) = read(tmp_path / "run").artifacts
        assert artifact.manifest.contents[0].local_path == str(tmp_path / "best.ckpt")

    def test_beside_the_offline_argument_of_lightning_is_refused(self, tmp_path):
        with pytest.raises(MisconfigurationException):
            offline(tmp_path, log_model=True, offline=True)

    def test_only_when_asked_for(self, tmp_path):
        logger = offline(tmp_path)
        train(tmp_path, logger, test=False)
        logger.finish(0)
        assert read(tmp_path).artifacts == []

    def test_only_after_success(self, tmp_path):
        logger = offline(tmp_path, log_model=True)
        model = Model()
        model.on_train_end = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            train(tmp_path, logger, model=model)
        logger.finish(1)
        run = read(tmp_path)
        assert (run.artifacts, run.exit_code) == ([], 1)


class TestId:
    def test_is_stored_before_training(self, tmp_path):
        logger = offline(tmp_path, version="given")
        logger.start()
        assert (tmp_path / "wandb_run_id").read_text() == "given"
        logger.finish()

    def test_without_one_there_is_one(self, tmp_path):
        logger = offline(tmp_path)
        logger.start()
        stored = (tmp_path / "wandb_run_id").read_text()
        logger.finish()
        assert len(stored) == 8
        assert read(tmp_path).run_id == stored == logger.version

    def test_stored_one_goes_on(self, tmp_path):
        (tmp_path / "wandb_run_id").write_text("first\n")
        logger = offline(tmp_path, version="second")
        logger.start()
        logger.finish()
        assert (read(tmp_path).run_id, read(tmp_path).resumes) == ("first", True)
        assert (tmp_path / "wandb_run_id").read_text() == "first"

    def test_of_a_sweep(self, tmp_path, monkeypatch, capfd):
        """The agent's variables, as far as that goes offline: W&B says so when it is told another id or project."""
        for name, value in SWEEP.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("WANDB_SILENT", "false")
        logger = offline(tmp_path, version="ours", name="the name", group="g", entity="us")
        logger.start()
        logger.finish(0)
        run = read(tmp_path)
        assert (run.run_id, run.project, run.name, run.group) == ("agents-id", "agents", "the name", "g")
        assert (tmp_path / "wandb_run_id").read_text() == "agents-id"
        assert "Ignoring" not in capfd.readouterr().err


class Server(BaseHTTPRequestHandler):
    """Answers, but knows nothing of W&B."""

    status = 404

    def answer(self):
        body = b"{}"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *arguments):
        pass


class Unavailable(Server):
    status = 503


@contextlib.contextmanager
def server(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def silent_server():
    """Takes what it is sent and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class TestOnline:
    def start(self, folder, capfd, match):
        """Gives the record of a run that wanted to be online."""
        logger = Logger(project="tests", save_dir=folder, mode="online", version="v")
        started = time.monotonic()
        with pytest.warns(UserWarning, match=match) as warned:
            logger.start()
        assert time.monotonic() - started < 40
        assert len(warned) == 1
        assert "\n" not in str(warned[0].message)
        logger.log_metrics({"val/accuracy": 0.5, "epoch": 0}, 3)
        logger.finish(0)
        assert capfd.readouterr() == ("", "")
        assert logger.offline_folder.name.startswith("offline-run-")
        assert logger.url is None
        return read(logger.offline_folder)

    @pytest.fixture
    def login(self, monkeypatch):
        monkeypatch.setenv("WANDB_API_KEY", KEY)

    def check(self, run):
        assert run.columns("val/accuracy", "epoch", "trainer/global_step") == [(0.5, 0, 3)]
        assert (run.exit_code, run.run_id) == (0, "v")

    def test_nobody_is_logged_in(self, tmp_path, capfd, monkeypatch):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        with server(Server) as url:
            monkeypatch.setenv("WANDB_BASE_URL", url)
            self.check(self.start(tmp_path, capfd, r"nobody is logged in, see `wandb login`\): .* kept offline"))

    def test_no_network(self, tmp_path, capfd, monkeypatch, login):
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        self.check(self.start(tmp_path, capfd, r"W&B cannot be reached \(http://127.0.0.1:9 does not answer\)"))

    def test_server_that_takes_its_time(self, tmp_path, capfd, monkeypatch, login):
        with silent_server() as url:
            monkeypatch.setenv("WANDB_BASE_URL", url)
            self.check(self.start(tmp_path, capfd, "does not answer"))

    def test_name_that_takes_its_time_to_be_looked_up(self, tmp_path, capfd, monkeypatch, login):
        gate = threading.Event()

        def look_up(*arguments, **options):
            gate.wait(60)
            raise OSError("no such name")

        monkeypatch.setattr("requests.get", look_up)
        self.check(self.start(tmp_path, capfd, "does not answer"))
        gate.set()

    def test_server_behind_a_proxy_that_cannot_reach_it(self, tmp_path, capfd, monkeypatch, login):
        with server(Unavailable) as url:
            monkeypatch.setenv("WANDB_BASE_URL", url)
            self.check(self.start(tmp_path, capfd, "does not answer"))

    def test_server_that_is_none_of_wandb(self, tmp_path, capfd, monkeypatch, login):
        monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
        with server(Server) as url:
            monkeypatch.setenv("WANDB_BASE_URL", url)
            self.check(self.start(tmp_path, capfd, r"W&B cannot be reached \(.*kept offline"))

    @pytest.mark.parametrize("source", ["netrc", "token"])
    def test_other_logins(self, home, monkeypatch, source):
        with server(Server) as url:
            monkeypatch.setenv("WANDB_BASE_URL", url)
            if source == "netrc":
                machine = url.removeprefix("http://")
                (home / ".netrc").write_text(f"machine {machine}\n  login user\n  password {KEY}\n")
                (home / ".netrc").chmod(0o600)
            else:
                monkeypatch.setenv("WANDB_IDENTITY_TOKEN_FILE", "token")
            wandb_service.check_server(10)

    def test_certificate_that_is_not_known_is_an_answer(self, monkeypatch, login):
        import requests

        def refuse(*arguments, **options):
            raise requests.exceptions.SSLError("self-signed")

        monkeypatch.setattr("requests.get", refuse)
        wandb_service.check_server(10)

    def test_proxy_of_wandb_is_asked(self, monkeypatch, login):
        monkeypatch.setenv("WANDB_BASE_URL", "http://server.invalid")
        with server(Server) as proxy:
            monkeypatch.setenv("WANDB_HTTP_PROXY", proxy)
            wandb_service.check_server(10)


class Online(Logger):
    seconds_to_upload = 4.0
    seconds_to_write = 3.0


class TestServer:
    """That answers."""

    @pytest.fixture
    def server(self, monkeypatch):
        server = WandbServer()
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server
        server.stop()

    def start(self, folder, **arguments):
        logger = Online(project="tests", save_dir=folder, mode="online", **arguments)
        logger.start()
        return logger

    def test_page_of_the_run_is_said_and_no_more(self, server, tmp_path, capfd):
        logger = self.start(tmp_path, version="the-id")
        assert logger.url == f"{server.url}/team/tests/runs/the-id"
        assert logger.offline_folder is None
        logger.finish(0)
        assert capfd.readouterr() == (f"W&B: {logger.url}\n", "")

    def test_values_arrive(self, server, tmp_path):
        logger = self.start(tmp_path)
        logger.log_metrics({"val/accuracy": 0.5, "epoch": 0}, 3)
        logger.finish(0)
        files = [content.get("files", {}) for content in server.contents("/file_stream")]
        lines = [json.loads(line) for file in files for line in file.get("wandb-history.jsonl", {}).get("content", [])]
        assert [(line["val/accuracy"], line["trainer/global_step"]) for line in lines] == [(0.5, 3)]

    def test_stored_id_goes_on(self, server, tmp_path):
        (tmp_path / "wandb_run_id").write_text("first")
        self.start(tmp_path, version="second").finish(0)
        assert server.contents("RunResumeStatus")[0]["name"] == "first"
        assert server.contents("UpsertBucket")[0]["name"] == "first"

    def test_of_a_sweep(self, server, tmp_path, monkeypatch):
        for name, value in SWEEP.items():
            monkeypatch.setenv(name, value)
        self.start(tmp_path, version="ours", entity="us").finish(0)
        asked = server.contents("UpsertBucket")[0]
        assert [asked[name] for name in ("name", "project", "entity", "sweep")] == list(SWEEP.values())

    def test_network_that_is_gone(self, server, tmp_path):
        """What was logged is all in its folder."""
        logger = self.start(tmp_path)
        server.stop()
        for step in range(20):
            logger.log_metrics({"train/loss": 1.0}, step)
        started = time.monotonic()
        with pytest.warns(UserWarning, match=f"Timed out.* lies in {tmp_path}/wandb/run-.*`wandb sync`") as warned:
            logger.finish(0)
        assert time.monotonic() - started < 40
        assert len(warned) == 1
        assert len(read(tmp_path).columns("train/loss")) == 20

    def test_time_that_was_given_for_the_end(self, server, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "0.5")
        logger = self.start(tmp_path)
        logger._thread.call(server.stop)
        with pytest.warns(UserWarning, match="Timed out"):
            logger.finish(0)
        assert os.environ["WANDB_FINISH_TIMEOUT"] == "0.5"

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    def test_disturbed(self, server, tmp_path, monkeypatch, number, capfd):
        class Impatient(Online):
            seconds_to_upload, seconds_to_write = 0.5, 0.5

        logger = Impatient(project="tests", save_dir=tmp_path, mode="online")
        logger.start()
        signal_services(number)
        with pytest.warns(UserWarning, match=r"W&B failed \(") as warned:
            log_until_the_end(logger)
        assert len(warned) == 1
        assert capfd.readouterr().err == ""


def log_all(logger):
    """All that training does with a logger."""
    logger.log_hyperparams({"a": 1})
    logger.log_metrics({"train/loss": 1.0}, 1)
    logger.log_evaluation(CONFUSION, NAMES, MISTAKES)
    logger.finalize("success")


def log_metrics(logger, times):
    for step in range(times):
        logger.log_metrics({"train/loss": 1.0, "x" * 1000: 1}, step)


def log_until_the_end(logger):
    for step in range(1000):
        logger.log_metrics({"train/loss": 1.0}, step)
        if logger._thread.failed:
            break
        time.sleep(0.001)
    log_all(logger)
    logger.finish(0)


class TestNoStart:
    def check(self, logger, match):
        with pytest.warns(UserWarning, match=match) as warned:
            logger.start()
        assert len(warned) == 1
        log_all(logger)
        logger.experiment.log({"x": 1})
        assert (logger.offline_folder, logger.url) == (None, None)
        logger.finish(0)

    def test_init_fails(self, tmp_path, monkeypatch):
        def fail(**settings):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(wandb, "init", fail)
        self.check(
            offline(tmp_path), r"W&B failed \(\[Errno 28\] No space left on device\): the run goes on without it$"
        )

    def test_folder_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        self.check(offline(tmp_path / "file" / "run"), "Not a directory")

    def test_error_without_words(self, tmp_path, monkeypatch):
        def fail(**settings):
            raise RuntimeError

        monkeypatch.setattr(wandb, "init", fail)
        self.check(offline(tmp_path), r"W&B failed \(RuntimeError\)")

    def test_error_of_many_lines(self, tmp_path, monkeypatch):
        def fail(**settings):
            raise RuntimeError("one\ntwo")

        monkeypatch.setattr(wandb, "init", fail)
        self.check(offline(tmp_path), r"W&B failed \(one two\)")

    def test_init_hangs(self, tmp_path, monkeypatch):
        class Impatient(Logger):
            seconds_to_start = 0.2
            seconds_to_write = 0.2

        gate = threading.Event()
        monkeypatch.setattr(wandb, "init", lambda **settings: gate.wait(60))
        self.check(Impatient(save_dir=tmp_path, mode="offline"), "it did not start within 0 s")
        gate.set()

    def test_online_init_that_hangs_is_not_tried_again(self, tmp_path, monkeypatch):
        class Impatient(Logger):
            seconds_to_start = 0.2

        gate, tried = threading.Event(), []

        def hang(**settings):
            tried.append(settings["mode"])
            gate.wait(60)
            raise ConnectionError("killed")

        monkeypatch.setattr("set_aggregation.loggers.wandb.check_server", lambda seconds: None)
        monkeypatch.setattr(wandb, "init", hang)
        logger = Impatient(save_dir=tmp_path, mode="online")
        with pytest.warns(UserWarning, match="did not start"):
            logger.start()
        gate.set()
        logger.finish(0)
        assert tried == ["online"]


class TestDisturbed:
    def test_killed(self, tmp_path):
        logger = offline(tmp_path)
        logger.start()
        logger.log_metrics({"train/loss": 1.0}, 1)
        assert logger._thread.wait(60)
        signal_services(signal.SIGKILL)
        with pytest.warns(UserWarning, match=r"failed \(.*what it has lies in .*`wandb sync`") as warned:
            log_until_the_end(logger)
        assert len(warned) == 1

    def test_stopped(self, tmp_path):
        """Its process takes nothing more, and does not end."""

        class Impatient(Logger):
            seconds_to_write = 2.0

        logger = Impatient(project="tests", save_dir=tmp_path, mode="offline")
        logger.start()
        signal_services(signal.SIGSTOP)
        started = time.monotonic()
        log_metrics(logger, 2000)
        assert time.monotonic() - started < 5
        with pytest.warns(UserWarning, match="it did not finish within 2 s") as warned:
            logger.finish(0)
        assert time.monotonic() - started < 40
        assert len(warned) == 1
        assert services() == []

    def test_stopped_for_long(self, tmp_path):
        """What waits for it does not take all memory."""

        class Small(Logger):
            max_waiting = 500

        logger = Small(project="tests", save_dir=tmp_path, mode="offline")
        logger.start()
        signal_services(signal.SIGSTOP)
        with pytest.warns(UserWarning, match="it does not take what it is given") as warned:
            log_metrics(logger, 3000)
        assert logger._thread.wait(60)  # its thread is free again
        logger.finish(0)
        assert len(warned) == 1

    def test_imports_do_not_meet_it(self, tmp_path, monkeypatch):
        """W&B counts imports of some modules, on the thread that imports them."""
        (tmp_path / "catboost.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        logger = offline(tmp_path)
        logger.start()
        signal_services(signal.SIGKILL)
        import catboost  # noqa: F401

        monkeypatch.delitem(sys.modules, "catboost")
        with pytest.warns(UserWarning, match="W&B failed"):
            logger.finish(0)

    def test_nothing_is_left_to_do_at_exit(self, tmp_path):
        before = atexit._ncallbacks()
        logger = offline(tmp_path)
        logger.start()
        signal_services(signal.SIGKILL)
        with pytest.warns(UserWarning, match="W&B failed"):
            logger.finish(0)
        # A callback that was taken back is counted on; it is not called.
        assert atexit._ncallbacks() >= before
        assert wandb.sdk.wandb_setup._singleton is None

    def test_dead_process_is_waited_for(self, tmp_path, monkeypatch):
        """Even where W&B does not get as far as that; or Python says later that it still runs."""

        async def fail(self, request):
            raise ConnectionResetError("gone")

        logger = offline(tmp_path)
        logger.start()
        process = wandb.sdk.wandb_setup.singleton()._connection._proc._process
        signal_services(signal.SIGKILL)
        monkeypatch.setattr(ServiceClient, "publish", fail)
        with pytest.warns(UserWarning, match="W&B failed"):
            logger.finish(0)
        assert process.returncode is not None

    def test_interrupted_end(self, tmp_path, monkeypatch):
        """By a person who does not want to wait."""

        def interrupt(seconds):
            raise KeyboardInterrupt

        logger = offline(tmp_path)
        logger.start()
        signal_services(signal.SIGSTOP)
        monkeypatch.setattr(logger._thread, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            logger.finish(0)
        assert services() == []
        assert wandb.sdk.wandb_setup._singleton is None

    def test_loop_that_has_lost_its_process_says_nothing(self, tmp_path, caplog):
        logger = offline(tmp_path)
        logger.start()
        logging.getLogger("asyncio").warning("socket.send() raised exception.")
        logging.getLogger("asyncio").warning("something else")
        logger.finish(0)
        assert [record.message for record in caplog.records if record.name == "asyncio"] == ["something else"]

    def test_value_that_wandb_does_not_take(self, tmp_path):
        logger = offline(tmp_path)
        logger.log_metrics({"train/loss": 1.0}, 1)
        logger.log_metrics({3: 1.0}, 2)
        logger.log_metrics({"train/loss": 3.0}, 3)
        with pytest.warns(UserWarning, match=r"W&B failed \(") as warned:
            logger.finish(0)
        assert len(warned) == 1
        run = read(tmp_path)  # what was logged before is all there
        assert (run.columns("train/loss"), run.exit_code) == ([(1.0,)], 0)

    def test_evaluation_that_is_wrong(self, tmp_path):
        logger = offline(tmp_path)
        logger.log_evaluation(CONFUSION, NAMES[:1], MISTAKES)
        with pytest.warns(UserWarning, match="index out of range"):
            logger.finish(0)

    def test_checkpoint_that_is_gone(self, tmp_path):
        logger = offline(tmp_path, log_model=True)
        train(tmp_path, logger, test=False)
        logger._best = "no/such/file.ckpt", {}
        logger.finalize("success")
        with pytest.warns(UserWarning, match="no/such/file.ckpt"):
            logger.finish(0)

    def test_full_disk(self, tmp_path, capfd):
        with full_disk(tmp_path / "run" / "wandb") as fill:
            logger = offline(tmp_path / "run")
            logger.start()
            fill()
            log_metrics(logger, 100)
            with pytest.warns(UserWarning, match="No space left on device") as warned:
                logger.finish(0)
        assert len(warned) == 1
        assert capfd.readouterr() == ("", "")

    def test_full_disk_at_the_start(self, tmp_path, capfd):
        with full_disk(tmp_path / "run" / "wandb") as fill:
            fill()
            logger = offline(tmp_path / "run")
            with pytest.warns(UserWarning, match=r"W&B failed \(") as warned:
                log_until_the_end(logger)
        assert len(warned) == 1
        assert capfd.readouterr() == ("", "")


@contextlib.contextmanager
def full_disk(folder):
    """A small disk in a folder, and what fills it."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount a small disk: {made.stderr}")

    def fill():
        with (folder / "filled").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    try:
        yield fill
    finally:
        wandb.teardown()
        subprocess.run(["umount", "--lazy", folder], check=True)


EXITS = (("none", "leave"), ("SIGKILL", "finish"), ("SIGSTOP", "leave"))

SCRIPT = """
import os, signal, sys
from pathlib import Path
import psutil, wandb
from set_aggregation.loggers.wandb import BackgroundWandbLogger

class Logger(BackgroundWandbLogger):
    seconds_to_write = 2.0

children = {}
for case in sys.argv[2:]:  # imported once, and then all at once
    folder, (sent, end) = Path(sys.argv[1], case), case.split("-")
    folder.mkdir()
    pid = os.fork()
    if pid:
        children[pid] = folder
        continue
    children.clear()
    for number, name in (1, "out"), (2, "err"):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    logger = Logger(project="tests", save_dir=folder, mode="offline")
    logger.log_metrics({"train/loss": 1.0}, 1)
    if sent != "none":
        for child in psutil.Process().children():
            child.send_signal(getattr(signal, sent))
        for step in range(1000):
            logger.log_metrics({"train/loss": 1.0, "x" * 1000: 1}, step)
    if end == "finish":
        logger.finish(0)
    break
for pid, folder in children.items():
    (folder / "code").write_text(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
"""


@pytest.fixture(scope="module")
def exits(tmp_path_factory):
    """Processes that end in different ways: the folder of each."""
    folder = tmp_path_factory.mktemp("exit")
    folders = {case: folder / "-".join(case) for case in EXITS}
    with clean_wandb(folder):
        subprocess.run(
            [sys.executable, "-c", SCRIPT, folder, *(f.name for f in folders.values())], check=True, timeout=120
        )
    return folders


class TestExit:
    """Of a process, which W&B would have wait for its own process."""

    @pytest.mark.parametrize("case", EXITS)
    def test_is_one_line_and_no_failure(self, exits, case):
        code, out, err = [(exits[case] / name).read_text() for name in ("code", "out", "err")]
        assert (code, out) == ("0", "")
        assert len(err.splitlines()) == (case[0] != "none")
        assert ("W&B failed" in err) == (case[0] != "none")

    def test_without_finish_loses_nothing(self, exits):
        run = read(exits["none", "leave"])
        assert (run.columns("train/loss"), run.exit_code) == ([(1.0,)], 0)


class TestLightning:
    def test_what_needs_no_run_starts_none(self, tmp_path):
        logger = offline(tmp_path, version="v", log_model=True)
        assert (logger.name, logger.version, logger.save_dir) == ("tests", "v", str(tmp_path))
        logger.log_graph(Model())
        logger.save()
        logger.finalize("success")
        logger.finish(0)
        assert list(tmp_path.iterdir()) == []
        assert logger._thread is None

    def test_other_ranks_start_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        logger = offline(tmp_path, log_model=True)
        logger.start()
        logger._best = "x.ckpt", {}
        log_all(logger)
        logger.experiment.log({"x": 1})
        logger.finish(0)
        assert list(tmp_path.iterdir()) == []
        assert (services(), logger._thread) == ([], None)

    def test_disabled_leaves_nothing(self, tmp_path):
        logger = Logger(save_dir=tmp_path, mode="disabled")
        logger.start()
        log_all(logger)
        logger.finish(0)
        assert (logger.offline_folder, logger.url) == (None, None)
        assert list(tmp_path.iterdir()) == []

    def test_experiment_is_the_run(self, tmp_path):
        logger = offline(tmp_path, version="v")
        assert isinstance(logger.experiment, wandb.Run)
        assert logger.experiment.id == logger.version == "v"
        logger.finish(0)

    def test_offline_argument_of_lightning(self, tmp_path):
        logger = Logger(save_dir=tmp_path, offline=True)
        logger.start()
        logger.finish(0)
        assert logger.offline_folder is not None

    def test_run_that_was_given(self, tmp_path):
        given = wandb.init(dir=tmp_path, mode="offline", id="given")
        logger = Logger(save_dir=tmp_path, experiment=given, mode="online")
        logger.log_metrics({"train/loss": 1.0}, 1)
        logger.finish(0)
        assert logger.version == "given"
        wandb.teardown()
        assert read(tmp_path).columns("train/loss") == [(1.0,)]

    def test_mode_of_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_MODE", "offline")
        logger = Logger(save_dir=tmp_path)
        logger.start()
        logger.finish(0)
        assert logger.offline_folder is not None

    def test_training_never_waits_for_it(self, tmp_path):
        """Every call that Lightning makes comes back while W&B hangs."""
        logger = offline(tmp_path, log_model=True)
        logger.start()
        gate = threading.Event()
        logger._thread.call(gate.wait, 60)
        started = time.monotonic()
        train(tmp_path, logger)
        logger.log_evaluation(CONFUSION, NAMES, MISTAKES)
        assert time.monotonic() - started < 40
        assert not gate.is_set()
        gate.set()
        logger.finish(0)
        assert len(read(tmp_path).columns("val/accuracy")) == 3

    def test_finish_waits_for_what_was_logged(self, tmp_path):
        logger = offline(tmp_path)
        logger.start()
        logger._thread.call(time.sleep, 0.5)
        logger.log_metrics({"train/loss": 1.0}, 1)
        logger.finish(3)
        run = read(tmp_path)
        assert (run.columns("train/loss"), run.exit_code) == ([(1.0,)], 3)

    def test_what_comes_after_the_end_is_dropped(self, tmp_path):
        logger = offline(tmp_path)
        logger.start()
        logger.finish(0)
        logger.finish(1)
        log_all(logger)
        logger.experiment.log({"x": 1})
        assert read(tmp_path).exit_code == 0

    def test_values_are_those_of_the_time_of_the_call(self, tmp_path):
        logger = offline(tmp_path)
        logger.start()
        gate = threading.Event()
        logger._thread.call(gate.wait, 60)
        metrics = {"train/loss": 1.0}
        logger.log_metrics(metrics, 1)
        metrics["train/loss"] = 2.0
        gate.set()
        logger.finish(0)
        assert read(tmp_path).columns("train/loss") == [(1.0,)]

    def test_nothing_is_kept_after_the_end(self, tmp_path):
        logger = offline(tmp_path)
        logger.start()
        logger.finish(0)
        reference = weakref.ref(logger)
        del logger
        for _ in range(100):
            gc.collect()
            if reference() is None:
                break
            time.sleep(0.1)  # its thread is about to end
        assert reference() is None

    def test_second_run_is_its_own(self, tmp_path):
        """In one process, also beside one that was not ended."""
        first, second = offline(tmp_path / "1", version="1"), offline(tmp_path / "2", version="2")
        first.start()
        second.start()
        second.log_metrics({"train/loss": 2.0}, 1)
        first.log_metrics({"train/loss": 1.0}, 1)
        second.finish(0)
        first.finish(0)
        for number in (1, 2):
            run = read(tmp_path / str(number))
            assert (run.run_id, run.columns("train/loss")) == (str(number), [(float(number),)])

    def test_prefix(self, tmp_path):
        logger = offline(tmp_path, prefix="val/ours")
        logger.log_metrics({"accuracy": 0.5, "epoch": 1}, 1)
        logger.finish(0)
        run = read(tmp_path)
        assert run.x_axes["val/ours-accuracy"] == "epoch"
        assert run.columns("val/ours-accuracy") == [(0.5,)]

    def test_copy_says_that_it_logs_nothing(self, tmp_path):
        logger = copy.deepcopy(offline(tmp_path))
        with pytest.MonkeyPatch.context() as other:
            other.setattr(rank_zero_only, "rank", 1)
            logger.log_metrics({"train/loss": 1.0}, 1)
        with pytest.warns(UserWarning, match="use --trainer.strategy ddp"):
            logger.log_metrics({"train/loss": 1.0}, 1)
        logger.finish(0)
        assert list(tmp_path.iterdir()) == []

    def test_data_folder_that_was_given_stays(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
        logger = offline(tmp_path / "run")
        logger.log_evaluation(CONFUSION, NAMES, MISTAKES)
        logger.finish(0)
        assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "data")
        assert list((tmp_path / "data" / "artifacts" / "staging").iterdir())
