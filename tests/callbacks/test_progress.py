import io
import re
import sys
import time
from types import SimpleNamespace

import pytest
import rich
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from torch.utils.data import DataLoader

import set_aggregation.callbacks.progress as module
from set_aggregation.callbacks import ProgressBar, Throughput

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


class Model(LightningModule):
    """Returns and logs what the classifier does."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch, batch_idx):
        time.sleep(0.02)
        return {"loss": self.weight * 0 + batch[0].sum(), "accuracy": batch[0].mean() / 10}

    def validation_step(self, batch, batch_idx):
        self.log("val/accuracy", 0.75, prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fit(monkeypatch, output, seconds=0.5, **arguments):
    """Trains for two epochs of losses 2, 6 and 5, of two images, two images and one; returns what was written."""
    throughput = Throughput()
    bar = ProgressBar(throughput, seconds)
    monkeypatch.setattr(sys, "stdout", output)
    if output.isatty():
        console = Console(file=output, force_terminal=True, width=240, color_system=None)
        monkeypatch.setattr(rich, "_console", console)
    data = DataLoader([(torch.full((1,), value), 0) for value in (1.0, 1.0, 3.0, 3.0, 5.0)], batch_size=2)
    Trainer(
        accelerator="cpu",
        callbacks=[throughput, bar],
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        logger=False,
        max_epochs=2,
        **arguments,
    ).fit(Model(), data, data)
    return output.getvalue()


@pytest.mark.parametrize("accumulated", [1, 3])
def test_line_of_an_epoch_has_means_over_its_images(monkeypatch, accumulated):
    lines = fit(monkeypatch, io.StringIO(), accumulate_grad_batches=accumulated).strip().splitlines()
    assert len(lines) == 2
    loss, accuracy = (2 * 2 + 2 * 6 + 5) / 5, (2 * 0.1 + 2 * 0.3 + 0.5) / 5
    for number, line in enumerate(lines, start=1):
        means = f"train/accuracy {accuracy:.4f}  train/loss {loss:.4f}  val/accuracy 0.7500  "
        assert line.startswith(f"epoch {number}/2  {means}")
        assert line.endswith(" images/s")


def test_line_of_an_epoch_without_validation_repeats_no_old_numbers(monkeypatch):
    lines = fit(monkeypatch, io.StringIO(), check_val_every_n_epoch=2, num_sanity_val_steps=0).strip().splitlines()
    assert ["val/" in line for line in lines] == [False, True]


def test_bar(monkeypatch):
    shown = fit(monkeypatch, Terminal())
    for each in ("train/loss: 4.200", "train/accuracy: 0.260", "val/accuracy: 0.750", "images/s: ", "Epoch 2/2"):
        assert each in shown
    for hidden in ("epoch 1/2", "it/s", "v_num", "Epoch 0"):
        assert hidden not in shown
    assert re.search(r"images/s: [\d,]+\s", shown)  # no decimals


def test_device_is_read_by_time_and_not_by_step(monkeypatch):
    reads, read = [], torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: reads.append(1) or read(self))
    counts = []
    for seconds in (1e9, 0.0):
        reads.clear()
        fit(monkeypatch, Terminal(), seconds)
        counts.append(len(reads))
    assert counts[1] > counts[0]


# Images per second


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.fixture
def trainer():
    return SimpleNamespace(world_size=1, loggers=[], current_epoch=0, global_step=0)


class Logger:
    def __init__(self):
        self.logged = []

    def log_metrics(self, metrics, step):
        self.logged.append((metrics, step))


def train(throughput, clock, trainer, seconds, images=10):
    """Ends batches after the given seconds each."""
    for index, each in enumerate(seconds):
        clock.now += each
        throughput.on_train_batch_end(trainer, None, None, (torch.zeros(images, 1), torch.zeros(images)), index)


@pytest.mark.parametrize("world_size", [1, 4])
def test_validation_and_time_between_epochs_do_not_count(clock, trainer, world_size):
    trainer.world_size, throughput = world_size, Throughput()
    assert throughput.images_per_second == 0
    throughput.on_train_epoch_start(trainer, None)
    train(throughput, clock, trainer, [1, 3])
    clock.now += 50
    throughput.on_validation_end(trainer, None)
    train(throughput, clock, trainer, [1])
    clock.now += 50
    throughput.on_train_epoch_start(trainer, None)
    train(throughput, clock, trainer, [2])
    assert (throughput.images, throughput.seconds) == (40 * world_size, 7)
    assert throughput.images_per_second == 40 * world_size / 7


def test_speed_of_each_epoch_is_logged_except_to_csv(clock, trainer, tmp_path):
    """The CSV file of a second run is the same."""
    logger, file = Logger(), CSVLogger(tmp_path)
    trainer.loggers, throughput = [logger, file], Throughput()
    for epoch, seconds in enumerate(([1, 1], [2, 2])):
        trainer.current_epoch, trainer.global_step = epoch, 2 * epoch + 2
        throughput.on_train_epoch_start(trainer, None)
        train(throughput, clock, trainer, seconds)
        throughput.on_train_epoch_end(trainer, None)
    name = "throughput/images_per_second"
    assert logger.logged == [({name: 10.0, "epoch": 0}, 2), ({name: 5.0, "epoch": 1}, 4)]
    assert file.experiment.metrics == []


def test_rest_of_a_resumed_epoch_is_measured(clock, trainer):
    """Lightning does not start that epoch again."""
    logger, throughput = Logger(), Throughput()
    trainer.loggers = [logger]
    throughput.on_train_start(trainer, None)
    train(throughput, clock, trainer, [2])
    throughput.on_train_epoch_end(trainer, None)
    assert logger.logged == [({"throughput/images_per_second": 5.0, "epoch": 0}, 0)]
