from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

import set_aggregation.callbacks.throughput as module
from set_aggregation.callbacks import Throughput


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


class Logger:
    def __init__(self):
        self.logged = []

    def log_metrics(self, metrics, step):
        self.logged.append((metrics, step))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def trainer():
    return SimpleNamespace(world_size=1, loggers=[], current_epoch=0, global_step=0)


def train(throughput, clock, trainer, seconds, images=10):
    """Ends batches after the given seconds each."""
    for index, each in enumerate(seconds):
        clock.now += each
        batch = (torch.zeros(images, 1), torch.zeros(images))
        throughput.on_train_batch_end(trainer, None, None, batch, index)


def test_images_by_time(clock, trainer):
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, None)
    train(throughput, clock, trainer, [1, 3])
    assert (throughput.images, throughput.seconds, throughput.images_per_second) == (20, 4, 5)


def test_zero_before_the_first_batch():
    assert Throughput().images_per_second == 0


def test_images_of_all_ranks(clock, trainer):
    trainer.world_size = 4
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, None)
    train(throughput, clock, trainer, [1, 1])
    assert throughput.images_per_second == 40


def test_validation_and_time_between_epochs_do_not_count(clock, trainer):
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, None)
    train(throughput, clock, trainer, [1])
    clock.now += 50
    throughput.on_validation_end(trainer, None)
    train(throughput, clock, trainer, [1])
    clock.now += 50
    throughput.on_train_epoch_start(trainer, None)
    train(throughput, clock, trainer, [2])
    assert (throughput.images, throughput.seconds) == (30, 4)


def test_speed_of_each_epoch_is_logged(clock, trainer):
    logger = Logger()
    trainer.loggers = [logger]
    throughput = Throughput()
    for epoch, seconds in enumerate(([1, 1], [2, 2])):
        trainer.current_epoch, trainer.global_step = epoch, 2 * epoch + 2
        throughput.on_train_epoch_start(trainer, None)
        train(throughput, clock, trainer, seconds)
        throughput.on_train_epoch_end(trainer, None)
    name = "throughput/images_per_second"
    assert logger.logged == [({name: 10.0, "epoch": 0}, 2), ({name: 5.0, "epoch": 1}, 4)]


def test_not_into_the_file_that_a_second_run_repeats(clock, trainer, tmp_path):
    trainer.loggers = [CSVLogger(tmp_path)]
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, None)
    train(throughput, clock, trainer, [1])
    throughput.on_train_epoch_end(trainer, None)
    assert trainer.loggers[0].experiment.metrics == []


def test_rest_of_an_epoch_that_goes_on_where_it_was_interrupted_is_measured(clock, trainer):
    """Lightning does not start that epoch again; a row for it has to come all the same."""
    logger = Logger()
    trainer.loggers, trainer.global_step = [logger], 4
    throughput = Throughput()
    throughput.on_train_start(trainer, None)
    train(throughput, clock, trainer, [2])
    throughput.on_train_epoch_end(trainer, None)
    assert logger.logged == [({"throughput/images_per_second": 5.0, "epoch": trainer.current_epoch}, 4)]
