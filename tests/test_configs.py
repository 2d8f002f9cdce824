"""Every file under configs/ is run for two batches."""

import pytest
import torch
import yaml
from tests.cli_runner import DIGITS, ROOT, run_cli

from set_aggregation.data import CIFAR10, FashionMNIST

CONFIGS = ROOT / "configs"
EXPERIMENTS = sorted(CONFIGS.glob("*.yaml"))
KEYS = {
    "data": "data",
    "backbone": "model.backbone",
    "aggregator": "model.aggregator",
    "trainer": "trainer",
    "logger": "trainer.logger",
}
PARTS = sorted(path for kind in KEYS for path in (CONFIGS / kind).rglob("*.yaml"))
AGGREGATORS = {"san", "avg", "max", "conv1x1", "flatten"}
DATA = {"cifar", "fashion_mnist", "digits"}


@pytest.fixture(autouse=True)
def stand_in_images(monkeypatch):
    """Random images in place of those that have to be downloaded."""

    def load(self):
        images = torch.randint(256, (320, self.in_channels, *self.image_size), dtype=torch.uint8)
        return images, torch.arange(320) % 10, 10

    for data in (CIFAR10, FashionMNIST):
        monkeypatch.setattr(data, "prepare_data", lambda self: None)
        monkeypatch.setattr(data, "load", load)
        monkeypatch.setattr(data, "test_size", 10)


def rehearse(folder, *arguments):
    """Runs two batches of training and validation on the CPU."""
    return run_cli(folder, "fit", *arguments, "--trainer.fast_dev_run=2", "--trainer.accelerator=cpu")


def name(path):
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_experiment_runs(tmp_path, path):
    small = () if "digits" in path.stem else ("--data.batch_size=8", "--data.val_size=16")
    code, out, err = rehearse(tmp_path, "--config", path, *small)
    assert code == 0, err
    assert "epoch 1/1" in out


@pytest.mark.parametrize("path", PARTS, ids=name)
def test_part_runs_when_given_by_path(tmp_path, path):
    kind = path.relative_to(CONFIGS).parts[0]
    small = ("--data.batch_size=8", "--data.val_size=16") if kind == "data" else ()
    code, out, err = rehearse(tmp_path, *DIGITS, f"--{KEYS[kind]}={path}", *small)
    assert code == 0, err
    assert "epoch 1/1" in out
    part = yaml.safe_load(path.read_text())
    if kind in ("backbone", "aggregator"):
        assert f" {part['class_path']} " in out


def test_every_file_is_an_experiment_a_part_or_a_sweep():
    others = set(CONFIGS.rglob("*.*")) - set(EXPERIMENTS) - set(PARTS) - set((CONFIGS / "sweep").rglob("*.yaml"))
    assert others == set()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_experiment_bears_its_file_name(path):
    assert yaml.safe_load(path.read_text())["run"]["experiment"] == path.stem


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_file_is_named_by_aggregator_and_data(path):
    aggregator, rest = path.stem.split("_", 1)
    assert aggregator in AGGREGATORS
    assert any(rest == data or rest.startswith(f"{data}_") for data in DATA)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_file_says_what_is_in_it(path):
    """The name of the file, and the parts it names, agree."""
    aggregators = {"avg": "global_avg_pool", "max": "global_max_pool"}
    data = {"cifar": "cifar10"}
    first, rest = path.stem.split("_", 1)
    config = yaml.safe_load(path.read_text())
    assert config["model"]["aggregator"] == f"aggregator/{aggregators.get(first, first)}.yaml"
    assert config["data"] == f"data/{data.get(rest, rest)}.yaml"
    assert path.read_text().startswith("# ")
