"""What every data module in memory promises, and what the real data sets are.

Images are told by their labels. A module of several sizes holds an image once per size in its validation and test
set; what else several sizes mean is in test_multi_resolution.py.
"""

import inspect
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from PIL import Image
from torch.utils.data import default_convert
from torchvision import datasets

from set_aggregation import data
from set_aggregation.data import (
    CIFAR10,
    Digits,
    FashionMNIST,
    ImageDataModule,
    ImageFolder,
    ImageSet,
    InMemoryImages,
    TorchDataset,
    in_memory,
)
from set_aggregation.data.image_set import resize
from tests.support.quiet_trainer import quiet_trainer

CLASSES = [
    exported
    for name in data.__all__
    if inspect.isclass(exported := getattr(data, name)) and issubclass(exported, InMemoryImages)
    if not inspect.isabstract(exported) and exported is not TorchDataset  # its items are arguments
]
PUBLISHED = [cls for cls in CLASSES if "data_dir" in inspect.signature(cls).parameters]
HAS_OFFICIAL = PUBLISHED
NUM_IMAGES, NUM_OFFICIAL_TEST, NUM_PAPER_TEST, VAL = 300, 50, 30, 25  # of the fake data

# Workers would only slow down a data set in memory.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def fake(cls, monkeypatch):
    """Gives a data module random images, whose labels are their numbers, so that each can be told; returns them."""
    images = torch.randint(256, (NUM_IMAGES, cls.in_channels, *cls.image_size), dtype=torch.uint8)
    num_official_test = NUM_OFFICIAL_TEST if cls in HAS_OFFICIAL else 0
    monkeypatch.setattr(cls, "load", lambda _: (images, torch.arange(NUM_IMAGES), num_official_test))
    monkeypatch.setattr(cls, "prepare_data", lambda _: None)
    monkeypatch.setattr(cls, "test_size", NUM_PAPER_TEST)
    return images


@pytest.fixture(params=CLASSES, ids=lambda cls: cls.__name__)
def each_cls(request, monkeypatch):
    """Every class, for what depends on its images."""
    fake(request.param, monkeypatch)
    return request.param


@pytest.fixture
def cls(monkeypatch):
    """One class, for what InMemoryImages does for all."""
    fake(Digits, monkeypatch)
    return Digits


SPLITS = [(FashionMNIST, {"split": "official"}), (FashionMNIST, {"split": "paper"}), (Digits, {})]


@pytest.fixture(params=SPLITS, ids=lambda case: "-".join([case[0].__name__, *case[1].values()]))
def make(request, monkeypatch):
    """Makes a data module of one class and split, set up."""
    cls, split = request.param
    fake(cls, monkeypatch)

    def make(**arguments):
        return set_up(cls, **split, **arguments)

    make.build = lambda **arguments: build(cls, **split, **arguments)
    make.test_size = NUM_OFFICIAL_TEST if split == {"split": "official"} else NUM_PAPER_TEST
    return make


def build(cls, **arguments):
    return cls(**{"batch_size": 16, "val_size": VAL, **arguments})


def set_up(cls, **arguments):
    module = build(cls, **arguments)
    module.setup("fit")
    return module


def numbers(loader):
    """The numbers of the images, in the order in which they come."""
    return [number for _, labels in loader for number in labels.tolist()]


def held_out(loader):
    """The numbers of the images of an evaluation, in the order in which they come; the same at each size."""
    found = {}
    for images, labels in loader:
        found.setdefault(images.shape[2:], []).extend(labels.tolist())
    first, *others = found.values()
    assert all(other == first for other in others)
    return first


def each_image(loader):
    """Size and number of each image."""
    return [(tuple(images.shape[2:]), number) for images, labels in loader for number in labels.tolist()]


def parts(module):
    return {
        "train": sorted(numbers(module.train_dataloader())),
        "val": held_out(module.val_dataloader()),
        "test": held_out(module.test_dataloader()),
    }


def epoch(module, index):
    """The order of one epoch, asked for as Lightning asks for it."""
    loader = module.train_dataloader()
    loader.sampler.set_epoch(index)
    return numbers(loader)


def test_every_exported_class_has_a_case():
    assert {CIFAR10, Digits, FashionMNIST} <= set(CLASSES)
    assert {CIFAR10, FashionMNIST} <= set(PUBLISHED)


# Class attributes


@pytest.mark.parametrize("cls", CLASSES)
def test_class_attributes_are_consistent(cls):
    assert len(cls.class_names) == len(set(cls.class_names)) == cls.num_classes
    assert len(cls.mean) == len(cls.std) == cls.in_channels
    assert all(0 < mean < 1 for mean in cls.mean)
    assert all(0 < std <= 0.5 for std in cls.std)  # pixels in [0, 1] spread no wider
    assert isinstance(cls.flip, bool)


# Batches


@pytest.mark.parametrize("part", ["train", "test"])
def test_batches_are_uint8_images_and_int64_labels(each_cls, part):
    module = set_up(each_cls)
    for images, labels in getattr(module, f"{part}_dataloader")():
        assert 1 <= len(images) == len(labels) <= 16
        assert images.shape[1] == each_cls.in_channels
        assert images.shape[2:] in module.image_sizes[part]
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_images_keep_their_labels(cls, monkeypatch, part):
    published = fake(cls, monkeypatch)
    for images, labels in getattr(set_up(cls), f"{part}_dataloader")():
        assert torch.equal(images, resize(published[labels], images.shape[2:]))


@pytest.mark.parametrize("normalize", [False, True])
def test_on_the_device_images_are_float32_in_channels_last(cls, normalize):
    module = set_up(cls, normalize=normalize)
    images, labels = module.on_after_batch_transfer(next(iter(module.val_dataloader())), 0)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64


def test_normalisation_is_of_each_channel(each_cls):
    module = set_up(each_cls, normalize=True)
    batch = next(iter(module.train_dataloader()))
    images, _ = module.on_after_batch_transfer(batch, 0)
    for channel in range(each_cls.in_channels):
        expected = (batch[0][:, channel].float() / 255 - each_cls.mean[channel]) / each_cls.std[channel]
        torch.testing.assert_close(images[:, channel], expected)


# Splits


def test_parts_are_disjoint_and_cover_all(make):
    found = parts(make())
    assert sorted(found["train"] + found["val"] + found["test"]) == list(range(NUM_IMAGES))


def test_sizes_of_the_parts(make):
    sizes = {part: len(found) for part, found in parts(make()).items()}
    assert sizes == {"train": NUM_IMAGES - VAL - make.test_size, "val": VAL, "test": make.test_size}


def test_split_seed_alone_decides(make):
    torch.manual_seed(1)
    first = parts(make(split_seed=7))
    torch.manual_seed(2)
    assert parts(make(split_seed=7)) == first


def test_official_test_set_is_the_published_one_in_its_order(monkeypatch):
    fake(CIFAR10, monkeypatch)
    module = set_up(CIFAR10, split="official", split_seed=1)
    assert held_out(module.test_dataloader()) == list(range(NUM_IMAGES - NUM_OFFICIAL_TEST, NUM_IMAGES))


def test_num_train_takes_some_of_the_same_and_leaves_the_rest(make):
    whole, some = parts(make()), parts(make(num_train=70))
    assert len(set(some["train"])) == 70
    assert set(some["train"]) < set(whole["train"])
    assert (some["val"], some["test"]) == (whole["val"], whole["test"])


# Epochs


def test_another_order_each_epoch(cls):
    module = set_up(cls)
    assert epoch(module, 0) != epoch(module, 1)


@pytest.mark.parametrize("index", [3])
def test_the_order_of_an_epoch_follows_the_seed_of_the_run(cls, index):
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(epoch(set_up(cls), index))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_evaluation_is_in_one_order(cls):
    module = set_up(cls)
    for loader in (module.val_dataloader(), module.test_dataloader()):
        loader.sampler.set_epoch(0)
        first = numbers(loader)
        loader.sampler.set_epoch(1)
        assert numbers(loader) == first


def test_ranks_share_the_training_images_by_the_seed_of_the_first(cls):
    shown = []
    for rank in range(3):
        torch.manual_seed(rank)  # ranks may be seeded apart
        module = set_up(cls)
        strategy = SimpleNamespace(broadcast=lambda _: 0, root_device=torch.device("cpu"))
        module.trainer = SimpleNamespace(global_rank=rank, world_size=3, strategy=strategy)
        shown += numbers(module.train_dataloader())
    assert len(shown) == len(set(shown))
    assert len(shown) >= len(parts(set_up(cls))["train"]) - 2 * len(module.image_sizes["train"])


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_some_images_of_a_part(cls, part):
    chosen = each_image(set_up(cls).evaluation_dataloader(part, 23))
    assert len(chosen) == len(set(chosen)) == 23
    assert set(chosen) < set(each_image(set_up(cls).evaluation_dataloader(part)))


def test_which_images_follows_the_seed_of_the_choice_and_not_of_the_run(cls):
    chosen = []
    for seed_of_run, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(seed_of_run)
        chosen.append(sorted(each_image(set_up(cls).evaluation_dataloader("train", 23, seed=seed))))
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("num_images", [1, 23, None])
def test_ranks_share_the_images_of_any_evaluation(cls, num_images):
    module, shown = set_up(cls), []
    whole = each_image(module.evaluation_dataloader("train", num_images))
    for rank in range(3):
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        module.trainer = SimpleNamespace(global_rank=rank, world_size=3, strategy=strategy)
        shown += each_image(module.evaluation_dataloader("train", num_images))
    assert sorted(shown) == sorted(whole)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_pictures_are_the_images_as_they_were_read(cls, monkeypatch, part):
    published = fake(cls, monkeypatch)
    module = set_up(cls, normalize=True, augment=True)
    num = len(numbers(module.evaluation_dataloader(part)))
    for index in (0, 1, num // 2, num - 1):
        _, labels = module.parts[part][[index]]
        pixels = module.image(part, index)
        expected = resize(published[labels], pixels.shape[:2])
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, expected[0].permute(1, 2, 0))


def test_reading_leaves_the_global_generator_alone(cls):
    module = set_up(cls)
    before = torch.get_rng_state()
    for part in ("train", "val", "test"):
        numbers(getattr(module, f"{part}_dataloader")())
        numbers(module.evaluation_dataloader(part, 7))
    assert torch.equal(torch.get_rng_state(), before)


# Augmentation


class Viewer(LightningModule):
    """Keeps what it is shown, by stage."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": [], "test": []}

    def training_step(self, batch, batch_idx):
        self.seen["train"].append(batch)
        return self.weight * batch[0].sum()

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append(batch)

    def test_step(self, batch, batch_idx):
        self.seen["test"].append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def view(module, tmp_path):
    """Runs two epochs and a test of a real Trainer; the batches that the model was shown."""
    viewer = Viewer()
    trainer = quiet_trainer(tmp_path, max_epochs=2)
    trainer.fit(viewer, module)
    trainer.test(viewer, module)
    return viewer.seen


def changed(batches, published):
    """The share of the images that are not what was published."""
    different = []
    for images, labels in batches:
        expected = resize(published[labels], images.shape[2:]).float() / 255
        different += (images != expected).flatten(1).any(1).tolist()
    return sum(different) / len(different)


def test_images_are_augmented_in_training_and_nowhere_else(cls, monkeypatch, tmp_path):
    published = fake(cls, monkeypatch)
    shown = view(set_up(cls, augment=True), tmp_path)
    assert changed(shown["train"], published) > 0.8
    assert changed(shown["val"], published) == 0
    assert changed(shown["test"], published) == 0


def test_images_are_mirrored_where_the_class_says_so(each_cls):
    _, w = each_cls.image_size
    images = torch.zeros(200, each_cls.in_channels, *each_cls.image_size, dtype=torch.uint8)
    images[..., w // 2 :] = 255  # bright on the right
    module = set_up(each_cls, augment=True)
    module.trainer = SimpleNamespace(lightning_module=torch.nn.Module())
    shown, _ = module.on_after_batch_transfer([images, torch.zeros(200)], 0)
    mirrored = shown[..., : w // 2].sum((1, 2, 3)) > shown[..., w // 2 :].sum((1, 2, 3))
    assert mirrored.any().item() == each_cls.flip
    assert not mirrored.all()


def test_augmentation_keeps_pixels_that_come_in_black_before_normalisation(each_cls):
    module = set_up(each_cls, augment=True, normalize=True)
    module.trainer = SimpleNamespace(lightning_module=torch.nn.Module())
    white = torch.full((100, each_cls.in_channels, *each_cls.image_size), 255, dtype=torch.uint8)
    shown, _ = module.on_after_batch_transfer([white, torch.zeros(100)], 0)
    for channel in range(each_cls.in_channels):
        mean, std = each_cls.mean[channel], each_cls.std[channel]
        torch.testing.assert_close(shown[:, channel].unique(), torch.tensor([-mean / std, (1 - mean) / std]))


# Setting up


def test_setup_loads_once(cls, monkeypatch):
    loads = []
    load = cls.load
    monkeypatch.setattr(cls, "load", lambda self: loads.append(1) or load(self))
    module = build(cls)
    for stage in ("fit", "validate", "test", "fit"):
        module.setup(stage)
    assert len(loads) == 1


@pytest.mark.parametrize(("stage", "made"), [("validate", ["val"]), ("test", ["test"])])
def test_a_stage_makes_only_what_it_needs(make, stage, made):
    module = make.build()
    module.setup(stage)
    assert list(module.image_sizes) == made
    part = held_out(getattr(module, f"{made[0]}_dataloader")())
    before = module.parts[made[0]]
    module.setup("fit")
    assert module.parts[made[0]] is before  # not made again
    assert set(module.image_sizes) == {"train", "val", "test"}
    assert parts(module) == parts(make())
    assert parts(module)[made[0]] == part


# Memory


def test_images_are_refused_where_one_byte_is_missing(cls, monkeypatch):
    module = set_up(cls, num_train=90)
    loaders = (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    held = sum(images.numel() for loader in loaders for images, _ in loader)
    monkeypatch.setattr(in_memory, "available_memory", lambda: held)
    set_up(cls, num_train=90)
    monkeypatch.setattr(in_memory, "available_memory", lambda: held - 1)
    with pytest.raises(ValueError, match=f"^{cls.__name__}: got images that take .* that are free; use fewer"):
        set_up(cls, num_train=90)


# Bad sizes


@pytest.mark.parametrize("argument", ["batch_size", "val_size", "num_train", "test_size"])
def test_sizes_below_one_are_refused_when_built(cls, argument):
    with pytest.raises(ValueError, match=f"{cls.__name__}: got {argument}=0, expected at least 1"):
        cls(**{argument: 0})


def test_size_of_the_published_test_set_cannot_be_given():
    with pytest.raises(ValueError, match=r"CIFAR10: got test_size=70 with split='official', .*leave it out"):
        CIFAR10(test_size=70)


def error(make, **arguments):
    with pytest.raises(ValueError, match="expected") as caught:
        make(**arguments)
    return str(caught.value)


@pytest.mark.parametrize("too_many", [0, 1])
def test_val_size_must_leave_something_to_train_on(make, too_many):
    available = NUM_IMAGES - make.test_size
    message = error(make, val_size=available + too_many)
    assert f"got val_size={available + too_many}, expected fewer than the {available} " in message


def test_test_size_must_leave_something_over(cls):
    with pytest.raises(ValueError, match=f"got test_size={NUM_IMAGES}, expected fewer than the {NUM_IMAGES} images"):
        set_up(cls, test_size=NUM_IMAGES)


def test_num_train_must_be_there(make):
    available = NUM_IMAGES - make.test_size - VAL
    message = error(make, num_train=available + 1)
    assert f"got num_train={available + 1}, expected at most {available}" in message


# The real data


def moments(images):
    """Mean and standard deviation of each channel of uint8 images, with pixels in [0, 1], from histograms."""
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    share, value = counts / counts.sum(1, keepdim=True), torch.arange(256).double() / 255
    mean = share @ value
    return mean, (share @ value**2 - mean**2).sqrt()


def check_moments(images, mean, std, tolerance):
    found_mean, found_std = moments(images)
    assert found_mean.tolist() == pytest.approx(mean, abs=tolerance)
    assert found_std.tolist() == pytest.approx(std, abs=tolerance)


@pytest.mark.slow
def test_digits_constants_are_those_of_the_whole_set():
    images, _, _ = Digits().load()
    check_moments(images, Digits.mean, Digits.std, 1e-4)


def test_digits_are_enlarged_the_right_way_up():
    from sklearn.datasets import load_digits

    images, labels, num_official_test = Digits().load()
    small = torch.from_numpy(load_digits().images)[:, None] / 16
    halved = torch.nn.functional.avg_pool2d(images.double() / 255, 2)
    assert images.shape == (1797, 1, 16, 16)
    assert images.dtype == torch.uint8
    assert (halved - small).abs().mean() < 0.05
    assert labels.tolist() == load_digits().target.tolist()
    assert num_official_test == 0


@pytest.fixture(scope="module", params=PUBLISHED, ids=lambda cls: cls.__name__)
def real(request):
    """A published data set, loaded once for all tests here."""
    folder = os.environ.get("SAN_TEST_DATA_DIR")
    if not folder:
        pytest.skip("SAN_TEST_DATA_DIR does not name a folder with the real data sets")
    cls = request.param
    images, labels, num_official_test = cls(Path(folder)).load()
    reference = [getattr(datasets, cls.__name__)(folder, train=train) for train in (True, False)]
    return SimpleNamespace(
        cls=cls,
        images=images,
        labels=labels,
        num_official_test=num_official_test,
        train=reference[0],
        test=reference[1],
    )


@pytest.fixture
def loaded(real, monkeypatch):
    monkeypatch.setattr(real.cls, "load", lambda _: (real.images, real.labels, real.num_official_test))
    return real


def published(dataset):
    """Images (N, C, H, W) and labels as torchvision gives them."""
    images = default_convert(dataset.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images, torch.as_tensor(dataset.targets)


@pytest.mark.slow
def test_real_data_is_what_torchvision_reads(real):
    first_test = len(real.images) - real.num_official_test
    for dataset, part in ((real.train, slice(first_test)), (real.test, slice(first_test, None))):
        images, labels = published(dataset)
        assert torch.equal(real.images[part], images)
        assert torch.equal(real.labels[part], labels)


@pytest.mark.slow
def test_constants_are_those_of_the_official_training_set(real):
    check_moments(published(real.train)[0], real.cls.mean, real.cls.std, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["official", "paper"])
def test_real_parts_are_of_the_papers_sizes(loaded, split):
    module = set_up(loaded.cls, val_size=5000, split=split)
    sizes = [len(module.parts[part]) for part in ("train", "val", "test")]
    held_out = {"official": [5000, 10_000], "paper": [5000, 5000]}[split]
    assert sizes == [len(loaded.images) - sum(held_out), *held_out]
    assert len(loaded.images) == {CIFAR10: 60_000, FashionMNIST: 70_000}[loaded.cls]


@pytest.mark.slow
def test_real_official_test_set_is_the_published_one_in_its_order(loaded):
    module = build(loaded.cls, batch_size=1000)
    module.setup("test")
    images, labels = (torch.cat(tensors) for tensors in zip(*module.test_dataloader(), strict=True))
    expected_images, expected_labels = published(loaded.test)
    assert torch.equal(images, expected_images)
    assert torch.equal(labels, expected_labels)


# A split of one's own


def write_split(tmp_path, **parts):
    (tmp_path / "split.json").write_text(json.dumps(parts))
    return tmp_path / "split.json"


def test_split_of_a_file(tmp_path):
    indices = {"train": list(range(0, 1000, 2)), "val": [5, 3], "test": [1, 7, 9]}
    module = Digits(split_file=write_split(tmp_path, **indices))
    module.setup("fit")
    images, labels, _ = module.load()
    for part, expected in indices.items():
        found, numbers = module.parts[part][list(range(len(expected)))]
        assert torch.equal(found, images[expected])
        assert torch.equal(numbers, labels[expected])


@pytest.mark.parametrize(
    "parts",
    [
        {"train": [0], "val": [1]},
        {"train": [0], "val": [1], "test": []},
        {"train": [0], "val": [1], "test": [1797]},
        {"train": [0], "val": [-1], "test": [2]},
        {"train": [0, 1], "val": [1], "test": [2]},
        {"train": [0.5], "val": [1], "test": [2]},
    ],
)
def test_a_bad_split_file_is_refused(tmp_path, parts):
    with pytest.raises(ValueError, match=r"got split_file=.*split\.json.*expected train, val and test"):
        Digits(split_file=write_split(tmp_path, **parts)).setup("fit")


# What a checkpoint stores


@pytest.mark.parametrize("normalize", [False, True])
def test_image_description_is_all_that_a_model_needs(normalize):
    module = Digits(sizes=[8, 24], normalize=normalize, num_train=100)
    module.setup("fit")
    description = module.image_description
    assert json.loads(json.dumps(description)) == description
    assert description["class_names"] == [str(digit) for digit in range(10)]
    assert description["image_size"] == [16, 16]
    assert (description["mean"] is not None) == normalize
    training = description["training"]
    assert training["data"] == "Digits at 2 sizes"
    assert training["num_images"]["train"] == 100
    assert training["image_sizes"]["test"] == [[8, 8], [24, 24]]


def test_image_description_of_a_folder(tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "a.png")
    said = ImageFolder(tmp_path, max_side=48, in_channels=1).image_description
    assert (said["class_names"], said["in_channels"], said["image_size"]) == (["cat", "dog"], 1, None)
    assert (said["max_side"], said["mean"]) == (48, [0.449])
    assert str(tmp_path) not in json.dumps(said)


# A data module of one's own


class Own(ImageDataModule):
    """The documented method alone."""

    num_classes, class_names, in_channels, image_size = 2, ("dark", "bright"), 1, None
    mean, std, flip = (0.5,), (0.5,), True

    def load_parts(self, names):
        sizes = [torch.full((20, 1, side, side), 100, dtype=torch.uint8) for side in (4, 6)]
        return {name: ImageSet(sizes, [torch.zeros(20).long(), torch.ones(20).long()]) for name in names}


def test_a_data_module_of_one_method(tmp_path):
    module, viewer = Own(batch_size=8), Viewer()
    trainer = quiet_trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(viewer, module)
    assert sum(len(labels) for _, labels in viewer.seen["train"]) == 40
    assert {images.shape[2:] for images, _ in viewer.seen["train"]} == {(4, 4), (6, 6)}
    assert module.batches_per_epoch == 6
    assert module.image("val", 39).shape == (6, 6, 1)


# Mixing


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_images_and_labels_are_mixed_by_one_share_in_training_only(cls, kind):
    module = set_up(cls, mix=kind)
    module.trainer = SimpleNamespace(lightning_module=torch.nn.Module())
    labels = torch.arange(6) % 2
    images = (255 * labels[:, None, None, None]).to(torch.uint8).expand(6, cls.in_channels, *cls.image_size)
    seen = set()
    for _ in range(20):
        mixed, shares = module.on_after_batch_transfer([images, labels], 0)
        # The mean of an image is the share of the white class in it.
        torch.testing.assert_close(mixed.mean((1, 2, 3)), shares[:, 1], atol=1e-5, rtol=0)
        torch.testing.assert_close(shares.sum(1), torch.ones(6))
        seen.add("mixup" if ((mixed > 0) & (mixed < 1)).any() else "cutmix")
    assert seen == {"mixup", "cutmix"} if kind == "both" else {kind}
    module.trainer.lightning_module.eval()
    assert torch.equal(module.on_after_batch_transfer([images, labels], 0)[1], labels)


def test_an_unknown_mix_is_refused(cls):
    with pytest.raises(ValueError, match="got mix='blend', expected one of mixup, cutmix, both"):
        cls(mix="blend")
