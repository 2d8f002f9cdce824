"""Checks the shapes in the library's signatures while the tests run."""

import gc
import os
import sys
from pathlib import Path

import hypothesis
import jaxtyping
import pytest

# Without those that are no modules: torch.compile cannot trace the checks of objects that are made on the way.
AGGREGATORS = {path.stem for path in (Path(__file__).parents[1] / "src" / "set_aggregation" / "aggregators").iterdir()}
CHECKED = [f"aggregators.{name}" for name in AGGREGATORS - {"sets"}]
# Before anything imports these modules: pytest loads this file ahead of collecting.
jaxtyping.install_import_hook(
    [f"set_aggregation.{name}" for name in (*CHECKED, "pooling", "backbones", "models.head")],
    "beartype.beartype",
)

gc.disable()  # while tests are collected: importing makes much and drops little

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("unhurried")


def pytest_configure(config):
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", 0):
        return  # the process that only shares out the tests needs no torch
    import torch

    if not torch.cuda.is_available():  # Triton's interpreter takes the place of a GPU; Triton looks when imported
        os.environ["TRITON_INTERPRET"] = "1"
    if not torch.accelerator.is_available():  # torch's own formats a stack trace for each kind of accelerator
        torch.manual_seed = torch.default_generator.manual_seed
    torch.set_num_threads(1)  # the tensors here are too small to share


def pytest_collection_finish(session):
    gc.enable()


@pytest.fixture
def unchecked_shapes(monkeypatch):
    """The modules as users have them, without shape checks.

    For the errors that the modules raise themselves, which the checks would forestall, and for torch.compile and
    torch.export, which cannot trace the checks.
    """
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def forget_modules(monkeypatch):
    """Has modules be imported anew in a test. Behind it the old ones stand in ``sys.modules`` and in their packages."""

    def forget(start: str) -> None:
        for name in [name for name in sys.modules if name.startswith(start)]:
            package, _, last = name.rpartition(".")
            if hasattr(sys.modules.get(package), last):
                monkeypatch.setattr(sys.modules[package], last, getattr(sys.modules[package], last))
            monkeypatch.delitem(sys.modules, name)

    return forget


@pytest.fixture
def stand_in_images(monkeypatch):
    """Random images in place of those that have to be downloaded."""
    import torch

    from set_aggregation.data import CIFAR10, FashionMNIST

    def load(self):
        images = torch.randint(256, (320, self.in_channels, *self.image_size), dtype=torch.uint8)
        return images, torch.arange(320) % 10, 10

    for cls in (CIFAR10, FashionMNIST):  # and with them what is made of them
        monkeypatch.setattr(cls, "prepare_data", lambda self: None)
        monkeypatch.setattr(cls, "load", load)
        monkeypatch.setattr(cls, "test_size", 10)
