"""Where the images of a data set in memory lie; torch's device "meta" stands in for an accelerator."""

from types import SimpleNamespace

import pytest
import torch

from set_aggregation.data import Digits, in_memory
from set_aggregation.data.in_memory import free_memory

ACCELERATOR = torch.device("meta")


def module_on(device, monkeypatch, free):
    """Set up for a trainer on a device that has so much free memory, and what is said."""
    said = []
    monkeypatch.setattr(in_memory, "free_memory", lambda device: free)
    monkeypatch.setattr(in_memory, "rank_zero_info", said.append)
    module = Digits()
    module.setup("fit")
    strategy, model = SimpleNamespace(root_device=device), SimpleNamespace(training=False)
    module.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=strategy, lightning_module=model)
    return module, said


def is_on_accelerator(module):
    return all(part.device.type != "cpu" for part in module.parts.values())


def needed():
    module = Digits()
    module.setup("fit")
    return sum(part.num_bytes for part in module.parts.values())


def test_images_that_take_half_of_the_free_memory_move(monkeypatch):
    module, said = module_on(ACCELERATOR, monkeypatch, free=2 * needed())
    assert not is_on_accelerator(module)
    for part in ("val", "train", "test"):
        images, labels = next(iter(module.evaluation_dataloader(part)))
        assert images.device == labels.device == ACCELERATOR
    assert is_on_accelerator(module)
    assert len(said) == 1
    assert "they move to" in said[0]


def test_a_choice_of_images_lies_there_too(monkeypatch):
    module, _ = module_on(ACCELERATOR, monkeypatch, free=2 * needed())
    images, _ = next(iter(module.evaluation_dataloader("train", num_images=10)))
    assert images.device == ACCELERATOR
    assert images.shape == (10, 1, 16, 16)


def test_images_that_take_more_stay(monkeypatch):
    module, said = module_on(ACCELERATOR, monkeypatch, free=2 * needed() - 2)
    for part in ("val", "train"):
        images, _ = next(iter(module.evaluation_dataloader(part)))
        assert images.device == torch.device("cpu")
    assert not is_on_accelerator(module)
    assert len(said) == 1
    assert "they stay in main memory" in said[0]


@pytest.mark.parametrize(("free", "pins"), [(0, True), (10**9, False)])
def test_batches_of_images_that_stay_are_pinned(monkeypatch, free, pins):
    module, _ = module_on(torch.device("cuda"), monkeypatch, free)
    monkeypatch.setattr(in_memory.ImageSet, "move_to", lambda self, device: setattr(self, "device", device))
    assert module.evaluation_dataloader("val").pin_memory == pins


def test_nothing_is_said_or_moved_on_a_cpu(monkeypatch):
    module, said = module_on(torch.device("cpu"), monkeypatch, free=10**9)
    assert not module.evaluation_dataloader("val").pin_memory
    assert not is_on_accelerator(module)
    assert not said


def test_a_device_that_does_not_say_has_no_free_memory():
    assert free_memory(ACCELERATOR) == 0


def test_mean_and_standard_deviation_are_put_on_a_device_once(monkeypatch):
    module, _ = module_on(torch.device("cpu"), monkeypatch, free=0)
    module.normalize = True
    images, labels = next(iter(module.evaluation_dataloader("val")))
    made, tensor = [], torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda values, device: made.append(device) or tensor(values, device=device))
    for batch in (images, images, images.to(ACCELERATOR), images.to(ACCELERATOR)):
        assert module.on_after_batch_transfer([batch, labels], 0)[0].device == batch.device
    assert made == [torch.device("cpu"), ACCELERATOR]
