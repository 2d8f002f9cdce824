"""What several sizes mean: who has which size, when it changes, and what it costs. The rest is the contract's."""

import math
import os
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
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
from set_aggregation.data.resizing import resize
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
@pytest.mark.parametrize("num_train", [1, 2, 3, 4, 5, 97, 98, 99, NUM_TRAIN])
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


@both_ways
@pytest.mark.parametrize("arguments", [{"batch_size": 50}, {"max_pixels_per_batch": 500}, {"antialias": False}])
def test_the_sizes_do_not_depend_on_how_images_are_read(resample, arguments):
    module = build(resample=resample, **arguments)
    for stage in ("test", "validate", "fit"):
        module.setup(stage)
    assert assignment(module, epoch=1) == assignment(set_up(resample=resample), epoch=1)


@both_ways
def test_another_size_seed_gives_other_sizes(resample):
    assert assignment(set_up(resample=resample, size_seed=1)) != assignment(set_up(resample=resample, size_seed=2))


@both_ways
def test_size_seed_leaves_the_split_alone(resample):
    parts = [
        [sorted(number for _, number in shown(held_out(set_up(resample=resample, size_seed=seed), part)))]
        for seed in (1, 2)
        for part in ("train", "val", "test")
    ]
    assert parts[:3] == parts[3:]


@both_ways
def test_sizes_are_drawn_and_not_dealt_out_in_the_order_of_the_images(resample):
    """Neighbours have the same size a third of the time: 33 of 99 expected, standard deviation 4.7."""
    sizes = [size for _, size in sorted(assignment(set_up(resample=resample)).items())]
    assert 15 < sum(size == following for size, following in pairwise(sizes)) < 52


def test_sizes_stay_without_resample():
    module = set_up()
    assert assignment(module, 0) == assignment(module, 1) == assignment(module, 7)


def test_sizes_change_with_resample():
    """An image keeps its size a third of the time: 33 of 100 expected, standard deviation 4.7."""
    module = set_up(resample=True)
    sizes = [assignment(module, epoch) for epoch in range(4)]
    for one, other in pairwise(sizes):
        assert 15 < sum(one[number] == other[number] for number in one) < 52


def test_each_image_has_each_size_equally_often_over_the_epochs():
    module = set_up(resample=True, batch_size=NUM_TRAIN)
    counts = Counter((number, size) for epoch in range(300) for number, size in assignment(module, epoch).items())
    assert len(counts) == NUM_TRAIN * len(SIZES)
    assert min(counts.values()) > 100 - 42  # 100 expected, standard deviation 8.2
    assert max(counts.values()) < 100 + 42


def test_seed_0_in_epoch_1_is_not_seed_1_in_epoch_0():
    zero, one = (set_up(resample=True, size_seed=seed) for seed in (0, 1))
    assert assignment(zero, 1) != assignment(one, 0)


@pytest.mark.parametrize("arguments", [{"batch_size": 8}, {"max_pixels_per_batch": 1000}])
def test_resampling_keeps_the_number_of_batches(arguments):
    loader = set_up(resample=True, **arguments).train_dataloader()
    kept = set_up(**arguments).train_dataloader()
    for epoch in range(5):
        loader.sampler.set_epoch(epoch)
        assert Counter(steps(loader)) == Counter(steps(kept))
        assert len(loader) == len(kept) == len(steps(loader))


@both_ways
@pytest.mark.parametrize("arguments", [{}, {"num_train": 97}, {"train_sizes": [10]}, {"train_sizes": [5, 6, 7, 8, 9]}])
def test_the_images_of_an_epoch_are_counted_once_however_many_sizes_they_have(resample, arguments):
    module = set_up(resample=resample, **arguments)
    assert module.images_per_epoch == len(shown(module.train_dataloader())) == arguments.get("num_train", NUM_TRAIN)


@both_ways
def test_evaluation_of_the_training_set_has_what_lies_in_memory(resample):
    """Where sizes are drawn anew, that is each image at each of them."""
    module = set_up(resample=resample)
    whole = shown(module.evaluation_dataloader("train"))
    assert len(whole) == len(set(whole)) == NUM_TRAIN * (len(SIZES) if resample else 1)
    assert set(assignment(module, 5).items()) <= {(number, size) for size, number in whole}
    assert len(shown(module.evaluation_dataloader("train", 29))) == 29


@pytest.mark.parametrize("part", ["val", "test"])
def test_pictures_of_each_size_are_numbered_one_after_the_other(part):
    module = set_up()
    whole = [image for images, _ in held_out(module, part) for image in images]
    for index, image in enumerate(whole):
        assert torch.equal(torch.from_numpy(module.picture(part, index)), image.permute(1, 2, 0))


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
@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize("antialias", [True, False])
def test_images_are_the_loaded_ones_resized(resample, part, antialias):
    loader = held_out(set_up(resample=resample, antialias=antialias), part)
    loader.sampler.set_epoch(2)
    for images, labels in loader:
        assert torch.equal(images, resize(Noise.images[labels], size_of(images), antialias))


@both_ways
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_images_at_the_original_size_are_the_loaded_ones(resample, part):
    originals = [batch for batch in held_out(set_up(resample=resample), part) if size_of(batch[0]) == ORIGINAL]
    assert originals
    for images, labels in originals:
        assert torch.equal(images, Noise.images[labels])


def test_antialias_is_on_by_default():
    assert torch.equal(next(iter(set_up().val_dataloader()))[0], next(iter(set_up(antialias=True).val_dataloader()))[0])


@both_ways
def test_loaded_images_are_left_as_they_were(resample):
    before = Noise.images.clone()
    set_up(resample=resample)
    assert torch.equal(Noise.images, before)


# Which sizes


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("train_sizes", ["all", "original", [10]])
@both_ways
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


@both_ways
def test_the_original_size_to_train_on_need_not_be_one_to_test_at(resample):
    module = set_up(sizes=[7], train_sizes="original", resample=resample)
    assert module.image_sizes == {"train": [ORIGINAL], "val": [(7, 7)], "test": [(7, 7)]}
    for images, labels in module.train_dataloader():
        assert torch.equal(images, Noise.images[labels])


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


@pytest.mark.parametrize("part", ["train", "val", "test"])
@both_ways
def test_batches_of_as_many_pixels(part, resample):
    """500 pixels are 7 images of 64, 2 of 180 and 2 of 192; and no more batches than that makes."""
    loader = held_out(set_up(resample=resample, max_pixels_per_batch=500), part)
    num_images = Counter(size for size, _ in shown(loader))
    for size, most in zip(SIZES, (7, 2, 2), strict=True):
        batches = [num for other, num in steps(loader) if other == size]
        assert max(batches) <= most
        assert len(batches) == math.ceil(num_images[size] / most)


# Ranks


def on_rank(module, rank, num_replicas):
    strategy = SimpleNamespace(broadcast=lambda _: 5, root_device=torch.device("cpu"))
    module.trainer = SimpleNamespace(global_rank=rank, world_size=num_replicas, strategy=strategy)
    return module


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
@pytest.mark.parametrize("epoch", [0, 1])
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


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
@pytest.mark.parametrize("part", ["val", "test"])
def test_ranks_see_each_image_to_evaluate_once_at_each_size(num_replicas, part):
    module = set_up()
    whole = sorted(shown(held_out(module, part)))
    together = [
        pair for rank in range(num_replicas) for pair in shown(held_out(on_rank(module, rank, num_replicas), part))
    ]
    assert sorted(together) == whole
    assert len(whole) == len(set(whole)) == len(SIZES) * {"val": VAL, "test": TEST}[part]


# Going on in the middle of an epoch


@pytest.mark.parametrize("num_batches", [0, 1, 5, 12])
@pytest.mark.parametrize("epoch", [0, 2])
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


def test_the_state_counts_the_batches_that_were_given():
    sampler = set_up(resample=True).train_dataloader().sampler
    whole, batches = list(sampler), iter(sampler)
    for num_batches in (1, 2, 3):
        next(batches)
        resumed = set_up(resample=True).train_dataloader().sampler
        resumed.load_state_dict(sampler.state_dict())
        assert list(resumed) == whole[num_batches:]


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
    numbers = module._sets["train"]
    for index in after:
        resized, labels = numbers[[index]]
        assert sizes[labels.item()] == size_of(resized)


# Memory


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
@pytest.mark.parametrize("stages", [["fit"], ["validate", "fit"], ["test", "validate", "fit"]])
def test_what_is_checked_is_what_is_held(arguments, stages, monkeypatch):
    checked = []
    monkeypatch.setattr(Noise, "_check_memory", lambda _, needed: checked.append(needed))
    module = build(**arguments)
    for stage in stages:
        module.setup(stage)
    held = [images for part in module._sets.values() for images in part._images]
    assert sum(checked) == sum(images.nbytes for images in held)
    storages = {images.untyped_storage().data_ptr(): images.untyped_storage().nbytes() for images in held}
    assert sum(storages.values()) == sum(checked)  # nothing larger is behind them


def test_images_that_do_not_share_evenly_are_counted_to_within_one():
    module = set_up(num_train=98)
    held = sum(images.nbytes for images in module._sets["train"]._images)
    assert module._num_bytes("train", 98) == pytest.approx(held, abs=max(h * w for h, w in SIZES) * 3)


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


def test_the_error_says_how_much_and_what_to_do(monkeypatch):
    monkeypatch.setattr(in_memory, "available_memory", lambda: 2_040_000_000)
    module = build(sizes=[4000])
    with pytest.raises(ValueError, match=r"take 6\.2 GB of memory, expected at most the 2\.0 GB .*num_train.*sizes"):
        module.setup("fit")


@pytest.mark.parametrize(("num_devices", "fits"), [(1, True), (2, True), (3, False)])
def test_every_rank_of_a_machine_holds_a_copy(num_devices, fits, monkeypatch):
    needed = sum(images.nbytes for part in set_up(num_train=99)._sets.values() for images in part._images)
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


@pytest.mark.parametrize("name", ["sizes", "train_sizes"])
@pytest.mark.parametrize(
    "sizes", [[], [8, 8], [8, (8, 8)], [(8, 9), (8, 9)], [0], [-8, 8], [(8, 0)], [(-1, 8)], "everything", ""]
)
def test_bad_sizes_are_named(name, sizes):
    with pytest.raises(ValueError, match=f"^Noise: got {name}=.*, expected different sizes") as caught:
        build(**{name: sizes})
    assert f"{name}={sizes!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "least"), [("size_seed", -1, 0), ("max_pixels_per_batch", 0, 1), ("max_pixels_per_batch", -5, 1)]
)
def test_bad_numbers_are_named(name, value, least):
    with pytest.raises(ValueError, match=f"^Noise: got {name}={value}, expected at least {least}"):
        build(**{name: value})


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


@pytest.mark.parametrize("argument", ["--data.size=[8]", "--data.image_size=[8,8]", "--data.sizes=[a]"])
def test_arguments_that_are_none_are_refused(parser, argument):
    with pytest.raises(jsonargparse.ArgumentError, match=r"Option '\w+' is not accepted|Parser key \"sizes\""):
        parser.parse_args(["--data", "CIFAR10", argument])


# The real data


def test_real_photographs(monkeypatch):
    folder = os.environ.get("SAN_TEST_DATA_DIR")
    if not folder:
        pytest.skip("SAN_TEST_DATA_DIR does not name a folder with the real data sets")
    loaded = CIFAR10(Path(folder)).load()
    monkeypatch.setattr(CIFAR10, "load", lambda _: loaded)
    arguments = {"data_dir": Path(folder), "split": "paper", "batch_size": 1000}
    module = CIFAR10(sizes=[16, 24, 32, 40, 48], **arguments)
    module.setup("fit")
    for part, num in (("train", 10_000), ("val", 5000), ("test", 5000)):
        counts = Counter()
        for size, num_in_batch in steps(held_out(module, part)):
            counts[size] += num_in_batch
        assert counts == dict.fromkeys(module.sizes, num)
    one_size = CIFAR10(**arguments)
    one_size.setup("test")
    originals = [batch for batch in module.test_dataloader() if size_of(batch[0]) == (32, 32)]
    for (images, labels), (expected, expected_labels) in zip(originals, one_size.test_dataloader(), strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, expected_labels)
