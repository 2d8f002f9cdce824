"""The batches of each rank and epoch, where a resumed run goes on, and that Lightning turns the epochs."""

import io
import json
import math
import random
import re
import tracemalloc
import warnings
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, WeightedRandomSampler

from set_aggregation.data import ResolutionBatchSampler
from tests.support.quiet_trainer import quiet_trainer

MAX_SIDE = 12
SIDES = st.integers(1, MAX_SIDE)
COUNTS = st.one_of(st.integers(1, 70), st.sampled_from([1, 2, 3, 5, 7, 31, 61, 67]))
BATCH_SIZES = st.integers(1, 40)
LIMITS = st.one_of(
    st.fixed_dictionaries({"batch_size": BATCH_SIZES}),
    st.fixed_dictionaries({"max_pixels_per_batch": st.integers(MAX_SIDE**2, 20 * MAX_SIDE**2)}),
)
REMAINDERS = st.sampled_from(["drop", "pad", "keep"])
REPLICAS = st.one_of(st.integers(1, 4), st.integers(1, 16))
SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.integers(0, 1000)
OPTIONS = {"shuffle": st.booleans(), "drop_last": st.booleans(), "remainder": REMAINDERS, "seed": SEEDS}

THREE_SIZES = [(8, 8), (4, 6), (6, 4)] * 40


@st.composite
def data_sets(draw):
    """The sizes of the images of a data set, mixed."""
    counts = draw(st.dictionaries(st.tuples(SIDES, SIDES), COUNTS, min_size=1, max_size=8))
    sizes = np.repeat(list(counts), list(counts.values()), axis=0)
    return [(h, w) for h, w in np.random.default_rng(draw(st.integers(0, 9))).permutation(sizes).tolist()]


def options(*names):
    """Arguments of the sampler: what limits a batch, and those named."""
    others = st.fixed_dictionaries({name: OPTIONS[name] for name in names})
    return st.builds(dict.__or__, LIMITS, others)


def ranks_of(sizes, num_replicas, **arguments):
    return [
        ResolutionBatchSampler(sizes, rank=rank, num_replicas=num_replicas, **arguments) for rank in range(num_replicas)
    ]


def plan(sizes, num_replicas=1, epoch=0, **arguments):
    """The batches of every rank."""
    ranks = ranks_of(sizes, num_replicas, **arguments)
    for sampler in ranks:
        sampler.set_epoch(epoch)
    return [list(sampler) for sampler in ranks]


def samples(batches):
    return [sample for batch in batches for sample in batch]


def samples_of_all(ranks):
    return [sample for batches in ranks for sample in samples(batches)]


def by_size(sizes, chosen):
    """How many of the chosen images have each size."""
    return Counter(sizes[sample] for sample in chosen)


def steps(sizes, batches):
    """Size and number of the images at each step."""
    return [(sizes[batch[0]], len(batch)) for batch in batches]


def assert_in_step(sizes, ranks):
    first = steps(sizes, ranks[0])
    assert all(steps(sizes, batches) == first for batches in ranks)


def largest_batch(size, batch_size=None, max_pixels_per_batch=None, **_):
    return batch_size or max_pixels_per_batch // math.prod(size)


def stopped(sampler, num_batches):
    """The first batches, and the state after them."""
    return list(islice(sampler, num_batches)), sampler.state_dict()


def resumed(state, sizes, num_replicas, **arguments):
    ranks = ranks_of(sizes, num_replicas, **arguments)
    for sampler in ranks:
        sampler.load_state_dict(state)
    return ranks


@settings(max_examples=10)
@given(data_sets(), REPLICAS, EPOCHS, options("shuffle", "drop_last", "remainder", "seed"))
def test_length_is_the_number_of_batches_on_each_rank(sizes, num_replicas, epoch, arguments):
    for sampler in ranks_of(sizes, num_replicas, **arguments):
        sampler.set_epoch(epoch)
        assert len(sampler) == len(list(sampler))


@settings(max_examples=10)
@given(data_sets(), REPLICAS, options("shuffle", "remainder", "seed"))
def test_a_size_comes_in_as_few_batches_as_can_be_that_differ_by_one_image(sizes, num_replicas, arguments):
    for batches in plan(sizes, num_replicas, **arguments):
        for of_size, share in by_size(sizes, samples(batches)).items():
            lengths = [length for size, length in steps(sizes, batches) if size == of_size]
            largest = largest_batch(of_size, **arguments)
            assert len(lengths) == math.ceil(share / largest)
            assert max(lengths) <= largest
            assert max(lengths) - min(lengths) <= 1


@settings(max_examples=10)
@given(data_sets(), REPLICAS, BATCH_SIZES, st.booleans(), REMAINDERS)
def test_drop_last_leaves_out_less_than_one_batch_of_each_size_and_rank(
    sizes, num_replicas, batch_size, shuffle, remainder
):
    arguments = {"batch_size": batch_size, "shuffle": shuffle, "remainder": remainder}
    whole = plan(sizes, num_replicas, **arguments)
    for every, full in zip(whole, plan(sizes, num_replicas, drop_last=True, **arguments), strict=True):
        assert all(len(batch) == batch_size for batch in full)
        left_out = Counter(samples(every)) - Counter(samples(full))
        assert left_out.total() == len(samples(every)) - len(samples(full))
        assert all(number < batch_size for number in by_size(sizes, left_out.elements()).values())


def test_one_rank_has_every_image_once_where_there_are_many_of_a_size():
    sizes = [(8, 8), (4, 6)] * 10007
    (batches,) = plan(sizes, batch_size=100)
    assert sorted(samples(batches)) == list(range(len(sizes)))


@settings(max_examples=10)
@given(data_sets(), REPLICAS, EPOCHS, options("shuffle", "seed"))
def test_drop_keeps_ranks_in_step_and_leaves_out_fewer_images_of_a_size_than_ranks(
    sizes, num_replicas, epoch, arguments
):
    ranks = plan(sizes, num_replicas, epoch, remainder="drop", **arguments)
    assert_in_step(sizes, ranks)
    used = samples_of_all(ranks)
    assert len(used) == len(set(used))
    left_out = by_size(sizes, range(len(sizes))) - by_size(sizes, used)
    assert all(number < num_replicas for number in left_out.values())


@settings(max_examples=10)
@given(data_sets(), REPLICAS, EPOCHS, options("shuffle", "seed"))
def test_pad_keeps_ranks_in_step_and_repeats_fewer_images_of_a_size_than_ranks(sizes, num_replicas, epoch, arguments):
    ranks = plan(sizes, num_replicas, epoch, remainder="pad", **arguments)
    assert_in_step(sizes, ranks)
    used = samples_of_all(ranks)
    assert set(used) == set(range(len(sizes)))
    padded = {size: -(-num // num_replicas) * num_replicas for size, num in Counter(sizes).items()}
    assert by_size(sizes, used) == padded


@settings(max_examples=10)
@given(data_sets(), REPLICAS, EPOCHS, options("shuffle", "seed"))
def test_keep_has_every_image_once_over_all_ranks_and_shares_evenly(sizes, num_replicas, epoch, arguments):
    ranks = plan(sizes, num_replicas, epoch, remainder="keep", **arguments)
    assert sorted(samples_of_all(ranks)) == list(range(len(sizes)))
    totals = [len(samples(batches)) for batches in ranks]
    assert max(totals) - min(totals) <= 1
    shares = [by_size(sizes, samples(batches)) for batches in ranks]
    for size in set(sizes):
        assert max(share[size] for share in shares) - min(share[size] for share in shares) <= 1


def test_other_images_are_left_out_each_epoch():
    everything = set(range(len(THREE_SIZES)))
    left_out = {
        frozenset(everything - set(samples_of_all(plan(THREE_SIZES, 7, epoch, batch_size=3)))) for epoch in range(5)
    }
    assert all(by_size(THREE_SIZES, some) == dict.fromkeys(THREE_SIZES, 5) for some in left_out)
    assert len(left_out) == 5


@settings(max_examples=10)
@given(data_sets(), EPOCHS, options("remainder", "seed"))
def test_in_order_is_by_size_and_then_as_in_the_data_set(sizes, epoch, arguments):
    (batches,) = plan(sizes, epoch=epoch, shuffle=False, **arguments)
    assert samples(batches) == sorted(range(len(sizes)), key=lambda sample: (sizes[sample], sample))


@settings(max_examples=10)
@given(data_sets(), st.integers(1, 8), EPOCHS, options("remainder", "seed"))
def test_the_plan_depends_on_seed_and_epoch_alone(sizes, num_replicas, epoch, arguments):
    plans = []
    for global_seed in (1, 2):
        random.seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002
        torch.manual_seed(global_seed)
        plans.append(plan(sizes, num_replicas, epoch, **arguments))
    assert plans[0] == plans[1]


def orders(**arguments):
    """The sizes of the batches in turn, and the images of each size in turn."""
    (batches,) = plan(THREE_SIZES, batch_size=5, **arguments)
    images = [[sample for sample in samples(batches) if THREE_SIZES[sample] == size] for size in THREE_SIZES[:3]]
    return [[size for size, _ in steps(THREE_SIZES, batches)], *images]


@settings(max_examples=10)
@given(SEEDS, EPOCHS, EPOCHS)
@example(0, 0, 256)
def test_epochs_differ_in_the_order_of_batches_and_of_images(seed, epoch, other):
    pairs = zip(orders(seed=seed, epoch=epoch), orders(seed=seed, epoch=other), strict=True)
    assert [one == two for one, two in pairs] == [epoch == other] * 4


@settings(max_examples=10)
@given(SEEDS, SEEDS, EPOCHS)
@example(0, 2**32, 0)
def test_seeds_differ_in_the_order_of_batches_and_of_images(seed, other, epoch):
    pairs = zip(orders(seed=seed, epoch=epoch), orders(seed=other, epoch=epoch), strict=True)
    assert [one == two for one, two in pairs] == [seed == other] * 4


class Recorder(LightningModule):
    """Writes down what each epoch showed."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs = []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, batch_idx):
        self.epochs[-1].append(batch.tolist())
        return self.weight * batch.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


# Workers would only slow down a data set in memory.
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("use", ["batch_sampler", "sampler"])
def test_lightning_turns_the_epochs(tmp_path, use):
    module = Recorder()
    sampler = ResolutionBatchSampler(THREE_SIZES, batch_size=8, seed=5)
    arguments = {"sampler": sampler, "batch_size": None} if use == "sampler" else {"batch_sampler": sampler}
    trainer = quiet_trainer(tmp_path, max_epochs=3)
    trainer.fit(module, DataLoader(torch.arange(len(THREE_SIZES)), **arguments))
    assert module.epochs == [plan(THREE_SIZES, epoch=epoch, batch_size=8, seed=5)[0] for epoch in range(3)]
    assert module.epochs[0] != module.epochs[1]


@settings(max_examples=10)
@given(
    data_sets(),
    st.integers(1, 16),
    EPOCHS,
    options("shuffle", "drop_last", "remainder", "seed"),
    SEEDS,
    st.floats(0, 1),
)
def test_a_resumed_epoch_has_the_batches_that_remained(sizes, num_replicas, epoch, arguments, other_seed, part):
    whole = plan(sizes, num_replicas, epoch, **arguments)
    following = plan(sizes, num_replicas, epoch + 1, **arguments)
    num_batches = round(part * len(whole[0]))
    sampler = ranks_of(sizes, num_replicas, **arguments)[0]
    sampler.set_epoch(epoch)
    _, state = stopped(sampler, num_batches)
    ranks = resumed(state, sizes, num_replicas, **arguments | {"seed": other_seed})
    assert [sampler.epoch for sampler in ranks] == [epoch] * num_replicas
    assert [len(sampler) for sampler in ranks] == [len(batches) for batches in whole]
    assert [list(sampler) for sampler in ranks] == [batches[num_batches:] for batches in whole]
    assert [list(sampler) for sampler in ranks] == whole
    for sampler in ranks:
        sampler.set_epoch(epoch + 1)
    assert [list(sampler) for sampler in ranks] == following


def test_a_state_survives_being_saved():
    _, state = stopped(ResolutionBatchSampler(THREE_SIZES, batch_size=8, seed=2**64 - 1), 5)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == state
    assert json.loads(json.dumps(state)) == state


@settings(max_examples=10)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=5), st.integers(1, 3), SEEDS)
def test_a_resumed_run_can_be_resumed_again(stops, num_replicas, seed):
    arguments = {"batch_size": 3, "seed": seed}
    # The first state is one of other ranks, so that the epoch does not start at its beginning.
    _, state = stopped(ResolutionBatchSampler(THREE_SIZES, rank=1, num_replicas=5, **arguments), 2)
    whole = [list(sampler) for sampler in resumed(state, THREE_SIZES, num_replicas, **arguments)]
    done = 0
    for stop in stops:
        first, *_ = resumed(state, THREE_SIZES, num_replicas, **arguments)
        batches, state = stopped(first, stop)
        assert batches == whole[0][done : done + stop]
        done += stop
    rest = [list(sampler) for sampler in resumed(state, THREE_SIZES, num_replicas, **arguments)]
    assert rest == [batches[done:] for batches in whole]


RUNS = st.lists(st.tuples(REPLICAS, LIMITS, st.floats(0, 1)), min_size=2, max_size=4)


@pytest.mark.slow
@settings(max_examples=10)
@given(data_sets(), RUNS, EPOCHS, st.sampled_from(["drop", "pad"]), st.booleans(), st.booleans(), SEEDS)
def test_other_ranks_and_batch_sizes_go_on_with_the_images_that_remained(
    sizes, runs, epoch, remainder, shuffle, drop_last, seed
):
    arguments = {"remainder": remainder, "shuffle": shuffle, "drop_last": drop_last}
    beginning = ResolutionBatchSampler(sizes, batch_size=1, seed=seed, **arguments)
    beginning.set_epoch(epoch)
    state, used = beginning.state_dict(), []
    for run, (num_replicas, limit, part) in enumerate(runs):
        ranks = resumed(state, sizes, num_replicas, **limit, **arguments)
        assert {sampler.epoch for sampler in ranks} == {epoch}
        batches = [list(sampler) for sampler in ranks]
        assert_in_step(sizes, batches)
        num_batches = len(batches[0]) if run == len(runs) - 1 else round(part * len(batches[0]))
        used += samples_of_all(some[:num_batches] for some in batches)
        *_, last_rank = resumed(state, sizes, num_replicas, **limit, **arguments)
        _, state = stopped(last_rank, num_batches)

    repeated = by_size(sizes, used) - by_size(sizes, set(used))
    assert all(number < max(num_replicas for num_replicas, _, _ in runs) for number in repeated.values())
    assert remainder == "pad" or not repeated
    for size, left_out in by_size(sizes, set(range(len(sizes))) - set(used)).items():
        assert remainder == "drop" or drop_last
        assert left_out < num_replicas * (largest_batch(size, **limit) if drop_last else 1)

    for sampler in ranks:
        sampler.set_epoch(epoch + 1)
    assert [list(sampler) for sampler in ranks] == plan(sizes, num_replicas, epoch + 1, seed=seed, **limit, **arguments)


def test_a_pass_after_that_of_other_ranks_is_whole():
    _, state = stopped(ResolutionBatchSampler(THREE_SIZES, batch_size=8), 5)
    ranks = resumed(state, THREE_SIZES, 3, batch_size=4)
    assert sum(len(list(sampler)) for sampler in ranks) < sum(len(sampler) for sampler in ranks)
    assert [list(sampler) for sampler in ranks] == plan(THREE_SIZES, 3, batch_size=4)


@pytest.mark.parametrize(("num_replicas", "batch_size"), [(3, 8), (2, 7)])
def test_keep_cannot_go_on_with_other_ranks_or_batch_sizes(num_replicas, batch_size):
    _, state = stopped(ResolutionBatchSampler(THREE_SIZES, 8, remainder="keep", rank=0, num_replicas=2), 1)
    with pytest.raises(ValueError, match=r"ResolutionBatchSampler: got a state of num_replicas=2 .*'keep'"):
        resumed(state, THREE_SIZES, num_replicas, batch_size=batch_size, remainder="keep")


@pytest.mark.parametrize("sizes", [THREE_SIZES[1:], [*THREE_SIZES, (9, 9)], THREE_SIZES[::3]])
def test_a_state_of_other_data_is_refused(sizes):
    _, state = stopped(ResolutionBatchSampler(sizes, batch_size=8), 1)
    with pytest.raises(ValueError, match=r"ResolutionBatchSampler: got a state of .*, expected \[40, 40, 40\]"):
        ResolutionBatchSampler(THREE_SIZES, batch_size=8).load_state_dict(state)


def test_one_rank_plans_its_own_share_alone():
    num_samples, num_replicas = 1_000_000, 1024
    sizes = np.repeat([[side, side] for side in range(1, 9)], num_samples // 8, axis=0)
    sampler = ResolutionBatchSampler(sizes, batch_size=8, rank=5, num_replicas=num_replicas)
    tracemalloc.start()
    try:
        next(iter(sampler))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * num_samples / num_replicas + 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "got batch_size=0, expected a whole number of at least 1"),
        ({"batch_size": -1}, "got batch_size=-1, expected"),
        ({"batch_size": 2.5}, "got batch_size=2.5, expected"),
        ({"batch_size": "x"}, "got batch_size='x', expected"),
        ({"batch_size": None}, "got batch_size=None and max_pixels_per_batch=None, expected one of them"),
        ({"max_pixels_per_batch": 9}, "got batch_size=2 and max_pixels_per_batch=9, expected one of them"),
        ({"batch_size": None, "max_pixels_per_batch": 0}, "got max_pixels_per_batch=0, expected"),
        ({"batch_size": None, "max_pixels_per_batch": 2.5}, "got max_pixels_per_batch=2.5, expected"),
        (
            {"batch_size": None, "max_pixels_per_batch": 63},
            "got max_pixels_per_batch=63, expected at least the 64 pixels of an image of 4x16",
        ),
        ({"sizes": []}, "got sizes of shape (0,) and type float64, expected N > 0 pairs (height, width)"),
        ({"sizes": np.zeros((0, 2), int)}, "got sizes of shape (0, 2) and type int64, expected"),
        ({"sizes": [8, 8]}, "got sizes of shape (2,) and type int64, expected"),
        ({"sizes": [(3, 8, 8)]}, "got sizes of shape (1, 3) and type int64, expected"),
        ({"sizes": [(8.0, 8.0)]}, "got sizes of shape (1, 2) and type float64, expected"),
        ({"sizes": [("8", "8")]}, "got sizes of shape (1, 2) and type <U1, expected"),
        ({"sizes": [(8, 8), (0, 8)]}, "got sizes from 0 to 8, expected heights and widths from 1 to 2**31 - 1"),
        ({"sizes": [(8, 8), (8, -8)]}, "got sizes from -8 to 8, expected"),
        ({"sizes": [(8, 2**31)]}, "got sizes from 8 to 2147483648, expected"),
        ({"remainder": "wrap"}, "got remainder='wrap', expected 'drop', 'pad' or 'keep'"),
        ({"seed": -1}, "got seed=-1, expected a whole number of at least 0"),
        ({"seed": 0.5}, "got seed=0.5, expected"),
        ({"num_replicas": 0}, "got num_replicas=0, expected a whole number of at least 1"),
        ({"rank": -1}, "got rank=-1, expected a whole number of at least 0"),
        ({"rank": 1}, "got rank=1, expected less than num_replicas=1"),
        ({"rank": 4, "num_replicas": 4}, "got rank=4, expected less than num_replicas=4"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=f"^ResolutionBatchSampler: {re.escape(message)}"):
        ResolutionBatchSampler(**{"sizes": [(5, 9), (4, 16), (3, 20)], "batch_size": 2} | arguments)


@pytest.mark.parametrize("other", [{"shuffle": False}, {"drop_last": True}, {"remainder": "pad"}])
def test_a_state_of_another_kind_of_plan_is_refused(other):
    state = ResolutionBatchSampler([(8, 8)] * 5, batch_size=2, **other).state_dict()
    with pytest.raises(ValueError, match=f"got a state of {next(iter(other))}="):
        ResolutionBatchSampler([(8, 8)] * 5, batch_size=2).load_state_dict(state)


@pytest.fixture
def initialise(monkeypatch):
    """Stand-in for init_process_group: returns a function that makes this process a rank."""

    def initialise(rank, num_replicas):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: num_replicas)

    return initialise


def test_ranks_are_read_when_it_is_iterated(initialise):
    whole = plan(THREE_SIZES, 3, batch_size=8)
    sampler = ResolutionBatchSampler(THREE_SIZES, batch_size=8)  # before init_process_group
    given_rank = ResolutionBatchSampler(THREE_SIZES, batch_size=8, rank=0)
    assert list(sampler) == plan(THREE_SIZES, batch_size=8)[0]
    initialise(1, 3)
    assert len(sampler) == len(whole[1])
    assert list(sampler) == whole[1]
    assert list(given_rank) == whole[0]


def test_a_state_may_be_loaded_before_the_ranks_are_known(initialise):
    before = ranks_of(THREE_SIZES, 3, batch_size=8)
    _, state = stopped(before[1], 2)
    sampler = ResolutionBatchSampler(THREE_SIZES, batch_size=8)
    sampler.load_state_dict(state)
    initialise(1, 3)
    assert list(sampler) == plan(THREE_SIZES, 3, batch_size=8)[1][2:]


WEIGHTS = [9.0 if size == (8, 8) else 1.0 for size in THREE_SIZES]


def weighted(**arguments):
    sampler = WeightedRandomSampler(WEIGHTS, 100)
    return ResolutionBatchSampler(THREE_SIZES, batch_size=7, sampler=sampler, **arguments)


def test_it_wraps_a_weighted_sampler():
    sampler = weighted()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = list(sampler)
    assert torch.equal(torch.get_rng_state(), state)
    drawn = by_size(THREE_SIZES, samples(first))
    assert drawn.total() == 100
    assert drawn[8, 8] > 60  # 82 expected, standard deviation 3.9
    assert all(len(by_size(THREE_SIZES, batch)) == 1 for batch in first)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert sorted(samples(sampler)) != sorted(samples(first))
    assert len(sampler) == len(list(sampler))


def test_a_weighted_epoch_is_shared_and_resumed():
    ranks = [weighted(rank=rank, num_replicas=3, remainder="keep") for rank in range(3)]
    whole = [list(sampler) for sampler in ranks]
    assert sorted(samples_of_all(whole)) == sorted(samples(weighted()))
    ranks[0].set_epoch(4)
    whole = list(ranks[0])
    _, state = stopped(ranks[0], 3)
    again = weighted(rank=0, num_replicas=3, remainder="keep", seed=8)
    again.load_state_dict(state)
    assert list(again) == whole[3:]


class Turning:
    """As many images as the number of the epoch."""

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(range(self.epoch + 1))


def test_a_wrapped_sampler_turns_the_epochs():
    sampler = ResolutionBatchSampler(THREE_SIZES, batch_size=2, sampler=Turning())
    sampler.set_epoch(7)
    assert sorted(samples(sampler)) == list(range(8))


def test_a_sampler_of_other_indices_is_refused():
    with pytest.raises(ValueError, match="ResolutionBatchSampler: got a sampler"):
        ResolutionBatchSampler(THREE_SIZES, batch_size=2, sampler=[0, 120])


def test_batches_of_one_image_are_warned_of():
    with pytest.warns(UserWarning, match="30 images have 20 different sizes.*choose_buckets"):
        ResolutionBatchSampler([(8, 8 + i % 20) for i in range(30)], batch_size=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ResolutionBatchSampler([(8, 8 + i % 20) for i in range(60)], batch_size=8)
        ResolutionBatchSampler([(8, 8 + i % 20) for i in range(30)], batch_size=1)
