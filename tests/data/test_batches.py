"""The plan of batches: what each rank gets, and that Lightning turns the epochs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from set_aggregation.data.batches import Batches

SIZES = st.one_of(st.integers(0, 200), st.sampled_from([2, 3, 5, 7, 31, 61, 127, 197, 199]))
BATCH_SIZES = st.integers(1, 70)
REPLICAS = st.one_of(st.integers(1, 4), st.integers(1, 64))
SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.integers(0, 1000)


def plan(num_samples, batch_size, shuffle, num_replicas=1, seed=0, epoch=0):
    """The batches of every rank, as lists, and the lengths that were announced."""
    ranks = [Batches(num_samples, batch_size, shuffle, seed, rank, num_replicas) for rank in range(num_replicas)]
    for batches in ranks:
        batches.set_epoch(epoch)
    return [[batch.tolist() for batch in batches] for batches in ranks], [len(batches) for batches in ranks]


def samples(batches):
    return [sample for batch in batches for sample in batch]


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, st.booleans(), REPLICAS, SEEDS, EPOCHS)
def test_length_is_the_number_of_batches_on_each_rank(n, batch_size, shuffle, num_replicas, seed, epoch):
    ranks, lengths = plan(n, batch_size, shuffle, num_replicas, seed, epoch)
    assert lengths == [len(batches) for batches in ranks]


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, st.booleans(), REPLICAS)
def test_only_the_last_batch_of_a_rank_is_smaller(n, batch_size, shuffle, num_replicas):
    for batches in plan(n, batch_size, shuffle, num_replicas)[0]:
        assert all(len(batch) == batch_size for batch in batches[:-1])
        assert all(1 <= len(batch) <= batch_size for batch in batches[-1:])


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, REPLICAS, SEEDS, EPOCHS)
def test_shuffled_steps_are_of_one_size_on_all_ranks(n, batch_size, num_replicas, seed, epoch):
    ranks, _ = plan(n, batch_size, True, num_replicas, seed, epoch)
    sizes = [[len(batch) for batch in batches] for batches in ranks]
    assert sizes == [sizes[0]] * num_replicas


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, REPLICAS, SEEDS, EPOCHS)
def test_shuffled_uses_no_sample_twice_and_leaves_out_less_than_one_a_rank(n, batch_size, num_replicas, seed, epoch):
    used = [
        sample for batches in plan(n, batch_size, True, num_replicas, seed, epoch)[0] for sample in samples(batches)
    ]
    assert len(used) == len(set(used))
    assert set(used) <= set(range(n))
    assert n - len(used) <= num_replicas - 1


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, SEEDS, EPOCHS)
def test_shuffled_on_one_rank_leaves_nothing_out(n, batch_size, seed, epoch):
    (batches,), _ = plan(n, batch_size, True, 1, seed, epoch)
    assert sorted(samples(batches)) == list(range(n))


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, REPLICAS)
def test_in_order_gives_every_sample_once_over_all_ranks(n, batch_size, num_replicas):
    ranks, _ = plan(n, batch_size, False, num_replicas)
    assert sorted(sample for batches in ranks for sample in samples(batches)) == list(range(n))


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, REPLICAS, SEEDS, EPOCHS)
def test_in_order_is_in_order_whatever_the_seed_and_the_epoch(n, batch_size, num_replicas, seed, epoch):
    ranks, _ = plan(n, batch_size, False, num_replicas, seed, epoch)
    assert all(samples(batches) == sorted(samples(batches)) for batches in ranks)


@settings(deadline=None)
@given(SIZES, BATCH_SIZES, REPLICAS, SEEDS, EPOCHS)
def test_the_plan_depends_on_seed_and_epoch_alone(n, batch_size, num_replicas, seed, epoch):
    torch.manual_seed(1)
    first = plan(n, batch_size, True, num_replicas, seed, epoch)
    torch.manual_seed(2)
    assert plan(n, batch_size, True, num_replicas, seed, epoch) == first


@settings(deadline=None)
@given(SEEDS, EPOCHS, EPOCHS)
def test_epochs_differ(seed, epoch, other):
    equal = plan(100, 7, True, 1, seed, epoch) == plan(100, 7, True, 1, seed, other)
    assert equal == (epoch == other)


@settings(deadline=None)
@given(SEEDS, SEEDS, EPOCHS)
def test_seeds_differ(seed, other, epoch):
    equal = plan(100, 7, True, 1, seed, epoch) == plan(100, 7, True, 1, other, epoch)
    assert equal == (seed == other)


def test_seed_0_in_epoch_1_is_not_seed_1_in_epoch_0():
    assert plan(100, 7, True, 1, seed=0, epoch=1) != plan(100, 7, True, 1, seed=1, epoch=0)


def test_other_samples_are_left_out_each_epoch():
    left_out = {
        frozenset(range(103))
        - {sample for batches in plan(103, 5, True, 4, 0, epoch)[0] for sample in samples(batches)}
        for epoch in range(5)
    }
    assert all(len(some) == 3 for some in left_out)
    assert len(left_out) > 1


def test_a_second_pass_over_one_epoch_is_the_same():
    batches = Batches(50, 8, shuffle=True, seed=3)
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in batches]


class Recorder(LightningModule):
    """Writes down what each epoch showed."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs = []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, batch_idx):
        self.epochs[-1] += batch.tolist()
        return self.weight * batch.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


# Workers would only slow down a data set in memory.
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_turns_the_epochs(tmp_path):
    module = Recorder()
    batches = Batches(40, 8, shuffle=True, seed=5)
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, DataLoader(torch.arange(40), batch_size=None, sampler=batches))
    assert module.epochs == [samples(plan(40, 8, True, 1, 5, epoch)[0][0]) for epoch in (0, 1)]
    assert module.epochs[0] != module.epochs[1]
