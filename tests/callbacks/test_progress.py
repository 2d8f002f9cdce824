import io
import sys
import time

import pytest
import rich
import torch
from lightning.pytorch import LightningModule, Trainer
from rich.console import Console
from torch.utils.data import DataLoader

from set_aggregation.callbacks import ProgressBar, Throughput, progress

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


class Model(LightningModule):
    """Gives back and logs what the classifier does."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch, batch_idx):
        time.sleep(0.02)
        return {"loss": self.weight * batch[0].sum() + 0.25, "accuracy": torch.tensor(0.5)}

    def validation_step(self, batch, batch_idx):
        self.log("val/accuracy", 0.75, prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fit(monkeypatch, output, num_images=4):
    """Trains for two epochs and gives what was written."""
    throughput = Throughput()
    bar = ProgressBar(throughput)
    monkeypatch.setattr(sys, "stdout", output)
    if output.isatty():
        console = Console(file=output, force_terminal=True, width=240, color_system=None)
        monkeypatch.setattr(rich, "_console", console)
    data = DataLoader([(torch.zeros(1), 0)] * num_images, batch_size=2)
    Trainer(
        accelerator="cpu",
        callbacks=[throughput, bar],
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        logger=False,
        max_epochs=2,
    ).fit(Model(), data, data)
    return output.getvalue()


def test_one_line_an_epoch_where_there_is_no_terminal(monkeypatch):
    lines = fit(monkeypatch, io.StringIO()).strip().splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, start=1):
        assert line.startswith(f"epoch {number}/2  train/accuracy 0.5000  train/loss 0.2500  val/accuracy 0.7500  ")
        assert line.endswith(" images/s")


@pytest.mark.parametrize(
    "shown", ["train/loss: 0.250", "train/accuracy: 0.500", "val/accuracy: 0.750", "images/s: ", "Epoch 1/1", "0:00:0"]
)
def test_bar_shows(monkeypatch, shown):
    assert shown in fit(monkeypatch, Terminal())


@pytest.mark.parametrize("hidden", ["epoch 1/2", "it/s", "v_num"])
def test_bar_leaves_out(monkeypatch, hidden):
    assert hidden not in fit(monkeypatch, Terminal())


def test_speed_has_no_decimals(monkeypatch):
    throughput = Throughput()
    throughput.images, throughput.seconds = 12345, 1.0
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
    trainer.training = True
    assert ProgressBar(throughput).get_metrics(trainer, Model())["images/s"] == "12,345"


@pytest.mark.parametrize(("seconds", "more_reads"), [(1e9, 0), (0.0, 16)])
def test_what_lies_on_the_device_is_read_by_time_and_not_by_step(monkeypatch, seconds, more_reads):
    reads, read = [], ProgressBar._of_last_batch
    monkeypatch.setattr(ProgressBar, "_of_last_batch", lambda self: reads.append(1) or read(self))
    monkeypatch.setattr(progress, "_SECONDS", seconds)
    counts = []
    for num_images in (4, 20):  # in batches of two, for two epochs
        reads.clear()
        fit(monkeypatch, Terminal(), num_images)
        counts.append(len(reads))
    assert counts[1] - counts[0] == more_reads
