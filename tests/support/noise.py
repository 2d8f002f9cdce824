"""Images of noise, in prime numbers that no number of processes divides, and trainers of several processes."""

import multiprocessing
from datetime import timedelta
from functools import partial

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from set_aggregation.aggregators import SAN
from set_aggregation.backbones import SmallCNN
from set_aggregation.data import InMemoryImages
from set_aggregation.models.classifier import SetClassifier
from tests.support.quiet_trainer import quiet_trainer

TRAIN, VAL, TEST = 211, 53, 97
NUM_CLASSES = 7


class Noise(InMemoryImages):
    """Small grey images of any class."""

    class_names = tuple("abcdefg")
    num_classes = NUM_CLASSES
    in_channels = 1
    image_size = (8, 8)
    mean, std, flip = (0.5,), (0.3,), True
    test_size = TEST

    def __init__(self, **arguments):
        super().__init__(**{"batch_size": 16, "val_size": VAL, "split": "paper", **arguments})

    def load(self):
        generator = torch.Generator().manual_seed(0)
        num = TRAIN + VAL + TEST
        images = torch.randint(256, (num, 1, *self.image_size), dtype=torch.uint8, generator=generator)
        return images, torch.randint(NUM_CLASSES, (num,), generator=generator), 0


def noise(several_sizes=False, **arguments):
    """Images of one or two sizes; those of two are drawn anew each epoch."""
    return Noise(**({"sizes": [8, 11], "resample": True} if several_sizes else {}), **arguments)


def small_classifier(lr=0.01, **arguments):
    """A model of always the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SetClassifier(
            SmallCNN(in_channels=1),
            partial(SAN, out_features=5),
            num_classes=NUM_CLASSES,
            optimizer=partial(torch.optim.Adam, lr=lr),
            **arguments,
        )


def trainer_of_ranks(folder, num, **arguments):
    """A trainer of so many processes."""
    if num == 1:
        return quiet_trainer(folder, **arguments)
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("a new Python would take long")
    if torch.cuda.is_initialized():
        pytest.skip("CUDA cannot be forked")
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo", timeout=timedelta(seconds=60))
    return quiet_trainer(folder, strategy=strategy, devices=num, **arguments)
