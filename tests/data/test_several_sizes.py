"""What several sizes mean: who has which size, when it changes, and what it costs. The rest is the contract's."""

from collections import Counter
from itertools import islice, pairwise
from types import SimpleNamespace

import jsonargparse
import pytest
import torch
from lightning.pytorch import LightningModule

from set_aggregation.data import (
    CIFAR10,
    ImageDataModule,
    InMemoryImages,
    in_memory,
)
from set_aggregation.data.image_set import resize
from tests.support.quiet_trainer import quiet_trainer

NUM_IMAGES, TEST, VAL = 130, 17, 13  # 100 to train on
NUM_TRAIN = NUM_IMAGES - TEST - VAL
ORIGINAL = (12, 16)
SIZES = [(8, 8), (9, 20), ORIGINAL]

# Workers would only slow down a data set in memory.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Noise(InMemoryImages):
    """Images of noise, whose labels are their numbers, so that each can be told."""

    image_size = ORIGINAL
    in_channels = 3
    test_size = TEST
    images = torch.randint(
        256, (NUM_IMAGES, 3, *ORIGINAL), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    def load(self):
        return self.images, torch.arange(NUM_IMAGES), 0


def build(cls=Noise, **arguments):
    return cls(**{"sizes": SIZES, "batch_size": 8, "val_size": VAL, "split": "paper", **arguments})


def set_up(**arguments):
    module = build(**arguments)
    module.setup("fit")
    return module


def size_of(images):
    return tuple(images.shape[2:])


def shown(loader):
    """Size and number of each image, in the order in which they come."""
    return [(size_of(images), number) for images, labels in loader for number in labels.tolist()]


def steps(loader):
    """Size and number of images of each batch."""
    return [(size_of(images), len(images)) for images, _ in loader]


def assignment(module, epoch=0):
    """The size of each training image in an epoch, asked for as Lightning asks for it."""
    loader = module.train_dataloader()
    loader.sampler.set_epoch(epoch)
    found = {number: size for size, number in shown(loader)}
    assert len(found) == len(shown(loader))  # each image once
    return found


def held_out(module, part):
    return getattr(module, f"{part}_dataloader")()


both_ways = pytest.mark.parametrize("resample", [False, True])


# The sizes of the training images


@both_ways
@pytest.mark.parametrize("num_train", [1, 98])
def test_equally_many_training_images_have_each_size(resample, num_train):
    module = set_up(resample=resample, num_train=num_train, batch_size=1)
    for epoch in (0, 1):
        sizes = assignment(module, epoch)
        assert len(sizes) == num_train
        counts = Counter(sizes.values())
        assert set(counts) <= set(SIZES)
        assert max(counts.values()) - min(counts[size] for size in SIZES) <= 1


@both_ways
def test_the_sizes_follow_size_seed_and_not_the_seed_of_the_run(resample):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(assignment(set_up(resample=resample, size_seed=4), epoch=3))
    assert found[0] == found[1]
    assert list(found[0]) != list(found[1])  # the order of the images is the run's


def test_sizes_stay_without_resample():
    module = set_up()
    assert assignment(module, 0) == assignment(module, 1) == assignment(module, 7)


def test_sizes_change_with_resample():
    """An image keeps its size a third of the time: 33 of 100 expected, standard deviation 4.7."""
    module = set_up(resample=True)
    sizes = [assignment(module, epoch) for epoch in range(4)]
    for one, other in pairwise(sizes):
        assert 15 < sum(one[number] == other[number] for number in one) < 52


class Viewer(LightningModule):
    """Writes down the size and the number of each image of each epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs, self.tested = [], []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, batch_idx):
        self.epochs[-1] += shown([batch])
        return self.weight * batch[0].sum()

    def validation_step(self, batch, batch_idx):
        pass

    def test_step(self, batch, batch_idx):
        self.tested += shown([batch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@both_ways
def test_a_trainer_turns_the_epochs(resample, tmp_path):
    module, viewer = build(resample=resample), Viewer()
    trainer = quiet_trainer(tmp_path, max_epochs=3)
    trainer.fit(viewer, module)
    trainer.test(viewer, module)
    expected = set_up(resample=resample)
    assert [{number: size for size, number in epoch} for epoch in viewer.epochs] == [
        assignment(expected, epoch) for epoch in range(3)
    ]
    assert [len(epoch) for epoch in viewer.epochs] == [NUM_TRAIN] * 3
    assert viewer.tested == shown(expected.test_dataloader())


# Pixels


@both_ways
@pytest.mark.parametrize(("part", "antialias"), [("train", True), ("train", False), ("test", True)])
def test_images_are_the_loaded_ones_resized(resample, part, antialias):
    loader = held_out(set_up(resample=resample, antialias=antialias), part)
    loader.sampler.set_epoch(2)
    for images, labels in loader:
        assert torch.equal(images, resize(Noise.images[labels], size_of(images), antialias))


# Which sizes


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize(("train_sizes", "resample"), [("all", True), ("original", False), ([10], False)])
def test_the_whole_split_is_there_at_every_size(part, train_sizes, resample):
    """In the order of the data set at one size, the order of the split; ascending sizes, one after the other."""
    module = set_up(train_sizes=train_sizes, resample=resample)
    one_size = Noise(batch_size=8, val_size=VAL, split="paper")
    one_size.setup("fit")
    numbers = [number for _, number in shown(held_out(one_size, part))]
    assert shown(held_out(module, part)) == [(size, number) for size in SIZES for number in numbers]


@pytest.mark.parametrize(
    ("train_sizes", "expected"),
    [
        ("all", SIZES),
        ("original", [ORIGINAL]),
        ([10], [(10, 10)]),
        ([30, (9, 20), 7], [(7, 7), (9, 20), (30, 30)]),  # of which two are no size to test at
    ],
)
@both_ways
def test_train_sizes(train_sizes, expected, resample):
    module = set_up(train_sizes=train_sizes, resample=resample)
    assert set(assignment(module).values()) == set(expected)
    assert module.image_sizes == {"train": expected, "val": SIZES, "test": SIZES}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([8], [(8, 8)]),
        ([20, 8], [(8, 8), (20, 20)]),
        ([(8, 20)], [(8, 20)]),
        ([[8, 20], (20, 8), 8], [(8, 8), (8, 20), (20, 8)]),  # lists are what YAML has
        ((1, 2), [(1, 1), (2, 2)]),
        (None, [ORIGINAL]),
    ],
)
def test_a_size_is_a_side_or_height_and_width(sizes, expected):
    module = set_up(sizes=sizes)
    assert module.image_sizes == {"train": expected, "val": expected, "test": expected}
    assert {size for size, _ in shown(module.test_dataloader())} == set(expected)


# Ranks


def on_rank(module, rank, num_replicas):
    strategy = SimpleNamespace(broadcast=lambda _: 5, root_device=torch.device("cpu"))
    module.trainer = SimpleNamespace(global_rank=rank, world_size=num_replicas, strategy=strategy)
    return module


@pytest.mark.parametrize("num_replicas", [3])
@pytest.mark.parametrize("epoch", [1])
@both_ways
def test_ranks_are_in_step_and_share_the_training_images(num_replicas, epoch, resample):
    module, loaders = set_up(resample=resample), []
    sizes = assignment(module, epoch)
    for rank in range(num_replicas):
        torch.manual_seed(rank)  # ranks may be seeded apart
        loaders.append(on_rank(set_up(resample=resample), rank, num_replicas).train_dataloader())
        loaders[-1].sampler.set_epoch(epoch)
    assert all(steps(loader) == steps(loaders[0]) for loader in loaders)
    together = [pair for loader in loaders for pair in shown(loader)]
    assert len(together) == len({number for _, number in together})
    assert len(together) >= NUM_TRAIN - (num_replicas - 1) * len(SIZES)
    assert all(sizes[number] == size for size, number in together)


# Going on in the middle of an epoch


@pytest.mark.parametrize("num_batches", [0, 5])
@pytest.mark.parametrize("epoch", [2])
@both_ways
def test_resuming_gives_the_batches_that_remained(num_batches, epoch, resample):
    sampler = set_up(resample=resample).train_dataloader().sampler
    sampler.set_epoch(epoch)
    whole = list(sampler)
    assert list(islice(sampler, num_batches)) == whole[:num_batches]
    state = sampler.state_dict(num_batches)
    torch.manual_seed(99)  # the state has the seed of the order
    resumed = set_up(resample=resample).train_dataloader().sampler
    resumed.load_state_dict(state)
    resumed.set_epoch(epoch)
    assert list(resumed) == whole[num_batches:]
    resumed.set_epoch(epoch + 1)
    sampler.set_epoch(epoch + 1)
    assert list(resumed) == list(sampler)


def test_resuming_on_more_ranks_shows_no_image_twice():
    module = set_up(resample=True)
    sampler = module.train_dataloader().sampler
    sampler.set_epoch(1)
    before = [index for batch in islice(sampler, 5) for index in batch]
    after = []
    for rank in range(2):
        resumed = on_rank(set_up(resample=True), rank, 2).train_dataloader().sampler
        resumed.load_state_dict(sampler.state_dict(num_batches=5))
        after += [index for batch in resumed for index in batch]
    images = [index % NUM_TRAIN for index in before + after]
    assert len(images) == len(set(images)) >= NUM_TRAIN - len(SIZES)
    sizes = assignment(module, 1)
    numbers = module.parts["train"]
    for index in after:
        resized, labels = numbers[[index]]
        assert sizes[labels.item()] == size_of(resized)


# Memory


def held(module):
    """The bytes of all images of the parts, each at each of its sizes."""
    return sum(images.numel() for part in module.parts for images, _ in module.evaluation_dataloader(part))


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_train": 99},
        {"num_train": 99, "resample": True},
        {"train_sizes": "original"},
        {"train_sizes": [5, 30], "resample": True},
        {"sizes": [7], "train_sizes": [30, 31], "num_train": 98},
    ],
)
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_what_is_checked_is_what_is_held(arguments, stage, monkeypatch):
    module = build(**arguments)
    module.setup(stage)
    bytes_of_labels = 8 * sum(map(len, module.parts.values()))
    assert sum(images.num_bytes for images in module.parts.values()) == held(module) + bytes_of_labels
    monkeypatch.setattr(in_memory, "available_memory", lambda: held(module))
    build(**arguments).setup(stage)
    monkeypatch.setattr(in_memory, "available_memory", lambda: held(module) - 1)
    with pytest.raises(ValueError, match="expected at most"):
        build(**arguments).setup(stage)


@pytest.fixture
def refuses_to_resize(monkeypatch):
    """No memory at all, and a failure where an image is resized all the same."""
    monkeypatch.setattr(in_memory, "available_memory", lambda: 0)
    monkeypatch.setattr(
        "set_aggregation.data.in_memory.resize", lambda *_: pytest.fail("images were resized that cannot fit")
    )


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_what_cannot_fit_is_refused_before_it_is_made(stage, refuses_to_resize):
    module = build()
    with pytest.raises(ValueError, match=r"^Noise: got images that take 0\.0 GB of memory, expected at most"):
        module.setup(stage)
    assert module.image_sizes == {}


@pytest.mark.parametrize(("num_devices", "fits"), [(1, True), (2, True), (3, False)])
def test_every_rank_of_a_machine_holds_a_copy(num_devices, fits, monkeypatch):
    needed = held(set_up(num_train=99))
    monkeypatch.setattr(in_memory, "available_memory", lambda: 2 * needed)
    module = build(num_train=99)
    module.trainer = SimpleNamespace(local_rank=0, global_rank=6, world_size=9, num_devices=num_devices)
    if not fits:
        with pytest.raises(ValueError, match="expected at most"):
            module.setup("fit")
    else:
        module.setup("fit")


def test_the_first_rank_of_a_machine_asks_for_all(monkeypatch):
    monkeypatch.setattr(in_memory, "available_memory", lambda: pytest.fail("a second rank asked"))
    module = build()
    module.trainer = SimpleNamespace(local_rank=1, global_rank=5, world_size=6, num_devices=3)
    module.setup("fit")
    assert module.image_sizes["test"] == SIZES


# Arguments


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("sizes", sizes) for sizes in ([], [8, 8], [8, (8, 8)], [0], [(8, -1)], "everything", "")]
    + [("train_sizes", sizes) for sizes in ([], "everything")],
)
def test_bad_sizes_are_named(name, sizes):
    with pytest.raises(ValueError, match=f"^Noise: got {name}=.*, expected different sizes") as caught:
        build(**{name: sizes})
    assert f"{name}={sizes!r}" in str(caught.value)


def test_a_batch_that_no_image_fits_into_is_refused_before_training():
    with pytest.raises(ValueError, match=r"got max_pixels_per_batch=191, expected at least the 192 pixels .* 12x16"):
        set_up(max_pixels_per_batch=191)


@pytest.fixture
def parser():
    """A parser as that of the command line."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")
    return parser


def test_a_configuration_reaches_the_data_set_and_the_mixin(parser, tmp_path):
    arguments = {
        **{"sizes": [16, [24, 20]], "train_sizes": "original", "resample": True, "size_seed": 3, "antialias": False},
        **{"max_pixels_per_batch": 5000, "data_dir": str(tmp_path), "batch_size": 32, "val_size": 7, "num_train": 90},
        **{"split": "paper", "split_seed": 4, "normalize": True, "augment": True},
    }
    config = parser.parse_object({"data": {"class_path": "CIFAR10", "init_args": arguments}})
    module = parser.instantiate(config).data
    assert type(module) is CIFAR10
    expected = {
        **arguments,
        "sizes": [(16, 16), (24, 20)],
        "train_sizes": [(32, 32)],
        "data_dir": tmp_path,
    }
    assert {name: getattr(module, name) for name in expected} == expected


# The real data
