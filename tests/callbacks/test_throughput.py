from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

import set_aggregation.callbacks.throughput as module
from set_aggregation.callbacks import Throughput


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
