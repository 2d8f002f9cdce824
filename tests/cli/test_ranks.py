"""Several ranks: what they train on together, what they measure, and what they tell each other."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Callback

from set_aggregation.callbacks import AccuracyPerSize, Misclassifications, Recovery
from set_aggregation.cli.ranks import broadcast_from_rank_zero, is_peer_failure
from tests.support.noise import noise, small_classifier, trainer_of_ranks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning"),
]


class Record(Callback):
    """Writes down what each rank has at the end of an epoch of training, and after a measurement."""

    def __init__(self, folder):
        self.folder = folder
        self.gradients, self.labels = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.labels.append(batch[1].tolist())

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append(torch.cat([weight.grad.flatten() for weight in pl_module.parameters()]))

    def on_train_end(self, trainer, pl_module):
        torch.save([self.gradients, self.labels], self.folder / f"train_{trainer.global_rank}.pt")

    def on_validation_end(self, trainer, pl_module):
        self._write(trainer, "val")

    def on_test_end(self, trainer, pl_module):
        self._write(trainer, "test")

    def _write(self, trainer, part):
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(part)}
        (self.folder / f"{part}_{trainer.global_rank}.json").write_text(json.dumps(metrics))


def measured(folder, num_ranks, part, several_sizes):
    """What each rank has logged."""
    folder.mkdir()
    trainer = trainer_of_ranks(folder, num_ranks, callbacks=[AccuracyPerSize(), Misclassifications(), Record(folder)])
    run = trainer.test if part == "test" else trainer.validate
    run(small_classifier(), noise(several_sizes), verbose=False)
    return [json.loads((folder / f"{part}_{rank}.json").read_text()) for rank in range(num_ranks)]


@pytest.mark.parametrize(
    ("part", "several_sizes"), [("val", False), ("test", True), pytest.param("test", False, marks=pytest.mark.nightly)]
)
def test_metrics_do_not_depend_on_the_number_of_ranks(tmp_path, part, several_sizes):
    """Of 53 and 97 images, which two and three ranks cannot share evenly."""
    (alone,) = measured(tmp_path / "1", 1, part, several_sizes)
    assert len(alone) == (4 if several_sizes else 2)
    for num_ranks in (2, 3):
        for of_rank in measured(tmp_path / str(num_ranks), num_ranks, part, several_sizes):
            # One float32 apart at most: the logits of an image are rounded otherwise in a batch of another size.
            apart = torch.finfo(torch.float32).eps
            assert of_rank.pop(f"{part}/loss") == pytest.approx(alone[f"{part}/loss"], rel=apart)
            assert of_rank == {name: value for name, value in alone.items() if "accuracy" in name}


@pytest.mark.parametrize("several_sizes", [pytest.param(False, marks=pytest.mark.nightly), True])
def test_gradients_of_two_ranks_are_those_of_one_with_twice_the_batch(tmp_path, several_sizes):
    """Each of the two has every other image of the batch of the one."""
    told = {}
    for num_ranks in (1, 2):
        folder = tmp_path / str(num_ranks)
        folder.mkdir()
        arguments = {"batch_size": 16 // num_ranks, "num_train": 192}  # all batches are full
        trainer = trainer_of_ranks(folder, num_ranks, callbacks=[Record(folder)], max_epochs=1, limit_train_batches=4)
        trainer.fit(small_classifier(lr=1e-6), noise(several_sizes, **arguments))
        told[num_ranks] = [torch.load(folder / f"train_{rank}.pt") for rank in range(num_ranks)]
    ((alone, labels),) = told[1]
    (first, labels_of_first), (second, labels_of_second) = told[2]
    for step in range(4):
        assert torch.equal(first[step], second[step])
        assert torch.allclose(first[step], alone[step], rtol=1e-4, atol=1e-6 * float(alone[step].abs().max()))
        assert sorted(labels_of_first[step] + labels_of_second[step]) == sorted(labels[step])


class Draw(Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        torch.save(torch.rand(4), self.folder / f"{trainer.global_rank}.pt")


def test_ranks_draw_random_numbers_of_their_own(tmp_path):
    callbacks = [Recovery(), Draw(tmp_path)]
    trainer_of_ranks(tmp_path, 2, callbacks=callbacks, max_steps=1).fit(small_classifier(), noise())
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert not torch.equal(first, second)


class Stop(Callback):
    """A signal to one rank, at one step."""

    def __init__(self, recovery, folder, rank, step):
        self.recovery, self.folder, self.rank, self.step = recovery, folder, rank, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.global_rank, trainer.global_step) == (self.rank, self.step):
            self.recovery.signals.signal = "SIGTERM"

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        (self.folder / f"{trainer.global_rank}").write_text(str(trainer.global_step))


@pytest.mark.parametrize("rank", [1, *(pytest.param(rank, marks=pytest.mark.nightly) for rank in (0, 2))])
def test_a_signal_to_one_rank_stops_all_of_them_at_one_step(tmp_path, rank):
    recovery = Recovery()
    recovery.file = tmp_path / "last.ckpt"
    trainer = trainer_of_ranks(tmp_path, 3, callbacks=[Stop(recovery, tmp_path, rank, 2), recovery], max_epochs=9)
    with pytest.raises(Exception, match="terminated with exit code 1"):
        trainer.fit(small_classifier(), noise())
    assert [(tmp_path / str(each)).read_text() for each in range(3)] == ["3"] * 3
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


# What the first rank tells the others


class Strategy:
    def __init__(self, externally):
        self.cluster_environment = SimpleNamespace(creates_processes_externally=externally)
        self.calls = []

    def setup_environment(self):
        self.calls.append("setup_environment")

    def broadcast(self, value):
        self.calls.append(value)
        return "what the first rank says"


def told(externally, is_global_zero, world_size=2, value="mine"):
    strategy = Strategy(externally)
    trainer = SimpleNamespace(strategy=strategy, world_size=world_size, is_global_zero=is_global_zero)
    return broadcast_from_rank_zero(value, trainer), strategy.calls


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setattr(os, "environ", {})


@pytest.mark.usefixtures("environment")
class TestTellAllRanks:
    def test_one_rank_talks_to_nobody(self):
        assert told(externally=False, is_global_zero=True, world_size=1) == ("mine", [])
        assert "SAN_RANK_ZERO_VALUE" not in os.environ

    def test_ranks_that_this_one_starts_find_it_in_the_environment(self):
        value = ["a", None, {"b": 1}]
        assert told(externally=False, is_global_zero=True, value=value) == (value, [])
        # Lightning says so in them, for they did not start by themselves.
        assert told(externally=True, is_global_zero=False) == (value, [])

    @pytest.mark.parametrize("is_global_zero", [True, False])
    def test_ranks_that_others_have_started_are_connected(self, is_global_zero):
        calls = ["setup_environment", "mine"]
        assert told(externally=True, is_global_zero=is_global_zero) == ("what the first rank says", calls)


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (dist.DistBackendError("NCCL error"), True),
        (dist.DistStoreError("wait timeout"), True),
        (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_error_of_a_lost_rank(error, is_lost):
    assert is_peer_failure(error) == is_lost
