"""A person's own pictures: folders of classes, a split, a handful of sizes, worker processes.

The colour of a picture tells its class, its exact shade tells the picture.
"""

import logging
from collections import Counter
from fractions import Fraction
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from PIL import Image

from set_aggregation.data.image_files import read_images
from set_aggregation.data.image_folder import ImageFolder
from tests.support.quiet_trainer import quiet_trainer

PARTS = ("train", "val", "test")
CLASSES = ("ant", "bee", "cat")
SHAPES = ((30, 40), (40, 30), (32, 32), (60, 45), (100, 80), (25, 33))  # width, height

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create .* worker processes"),  # on a small machine
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def paint(file, colour=(0, 0, 0), shape=(32, 32), **options):
    """A picture of one colour."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if isinstance(colour, tuple) else "L", shape, colour).save(file, **options)
    return file


def paint_class(folder, number, num, first=0):
    """Pictures whose red is their class and whose green is their number, of several shapes."""
    for i in range(first, first + num):
        paint(folder / f"{i:03}.png", (50 * number, i, 7), SHAPES[i % len(SHAPES)])


@pytest.fixture
def root(tmp_path):
    """Three classes of 20, 30 and 40 pictures of six sizes."""
    for number, name in enumerate(CLASSES):
        paint_class(tmp_path / "pictures" / name, number, 20 + 10 * number)
    return tmp_path / "pictures"


def build(root, **arguments):
    return ImageFolder(**{"root": root, "batch_size": 4, "max_side": 48, "num_workers": 0, **arguments})


def set_up(root, **arguments):
    module = build(root, **arguments)
    module.prepare_data()
    module.setup("fit")
    return module


def loaders(module):
    return {part: getattr(module, f"{part}_dataloader")() for part in PARTS}


def shown(loader):
    """Class, by the colour, and number of each picture of a loader."""
    pixels = [image[:, 0, 0].tolist() for images, _ in loader for image in images]
    return [(red // 50, green) for red, green, _ in pixels]


def parts(module):
    return {part: sorted(shown(loader)) for part, loader in loaders(module).items()}


def file_names(module):
    return {part: [str(file.relative_to(module.root)) for file in module._sets[part].files] for part in PARTS}


def everything(module):
    """Class and number of every picture, sorted."""
    return sorted(chain.from_iterable(parts(module).values()))


def error(*arguments, **options):
    with pytest.raises(ValueError, match="got") as caught:
        set_up(*arguments, **options)
    return str(caught.value)


# Classes


def test_classes_are_the_folders_sorted(tmp_path):
    for name in ("zebra", "Ant", "bee 2", "10", "9"):  # neither in the order in which they are made nor by number
        paint_class(tmp_path / "pictures" / name, 0, 10)
    module = set_up(tmp_path / "pictures")
    assert module.class_names == ("10", "9", "Ant", "bee 2", "zebra")
    assert module.num_classes == 5
    for files, labels in ((module._sets[part].files, module._sets[part].labels.tolist()) for part in PARTS):
        assert [module.class_names[label] for label in labels] == [file.parent.name for file in files]


def test_classes_are_known_before_set_up(root):
    module = build(root)
    assert (module.class_names, module.num_classes) == (CLASSES, 3)
    assert module.image_size is None


def test_hidden_folders_and_files_beside_the_classes_are_passed_over(root):
    paint(root / ".thumbnails" / "a.png")
    paint(root / "cover.png")
    (root / "notes.txt").write_text("not an image")
    (root / "ant" / "labels.csv").write_text("not an image")
    module = set_up(root)
    assert module.class_names == CLASSES
    assert sum(map(len, module._sets.values())) == 90


def test_pictures_at_any_depth_count(root):
    paint_class(root / "ant" / "more" / "and more", 0, 10, first=100)
    found = everything(set_up(root))
    assert len(set(found)) == 100
    assert {(0, number) for number in range(100, 110)} < set(found)


def test_a_folder_in_a_class_may_be_named_like_another_class(root):
    paint_class(root / "ant" / "cat", 0, 10, first=100)
    module = set_up(root)
    for images, labels in (batch for loader in loaders(module).values() for batch in loader):
        assert torch.equal(images[:, 0, 0, 0] // 50, labels)


def test_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert build("~/pictures").class_names == CLASSES


# Layouts


def lay_out(tmp_path, *names):
    """Folders of three classes, whose pictures are numbered from 0, 100, 200."""
    for first, name in zip((0, 100, 200), names, strict=False):
        for number, class_name in enumerate(CLASSES):
            paint_class(tmp_path / "pictures" / name / class_name, number, 10, first)
    return tmp_path / "pictures"


def folders_of(module):
    return {part: dict(Counter(name.split("/")[0] for name in names)) for part, names in file_names(module).items()}


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folders_for_all_parts(tmp_path, val):
    module = set_up(lay_out(tmp_path, "train", val, "test"))
    assert module.class_names == CLASSES
    assert folders_of(module) == {"train": {"train": 30}, "val": {val: 30}, "test": {"test": 30}}


def test_test_is_held_out_where_only_val_is_there(tmp_path):
    module = set_up(lay_out(tmp_path, "train", "val"), test_fraction=0.3)
    assert folders_of(module) == {"train": {"train": 21}, "val": {"val": 30}, "test": {"train": 9}}


def test_val_is_held_out_where_only_test_is_there(tmp_path):
    module = set_up(lay_out(tmp_path, "train", "test"), val_fraction=0.2)
    assert folders_of(module) == {"train": {"train": 24}, "val": {"train": 6}, "test": {"test": 30}}


def test_labels_of_every_part_are_those_of_train(tmp_path):
    """Also where val has not all of the classes."""
    root = lay_out(tmp_path, "train", "val", "test")
    for file in (root / "val" / "ant").iterdir():
        file.unlink()
    (root / "val" / "ant").rmdir()
    for part, loader in loaders(set_up(root)).items():
        labels = torch.cat([labels for _, labels in loader])
        assert labels.unique().tolist() == ([1, 2] if part == "val" else [0, 1, 2])
        assert [label for label, _ in shown(loader)] == torch.cat([labels for _, labels in loader]).tolist()


def test_a_class_may_be_called_train(tmp_path):
    for number, name in enumerate(("plane", "train")):
        paint_class(tmp_path / "pictures" / name, number, 10)
    module = set_up(tmp_path / "pictures")
    assert module.class_names == ("plane", "train")
    assert everything(module) == [(label, i) for label in (0, 1) for i in range(10)]


def test_classes_may_be_called_val_and_test(tmp_path):
    for number, name in enumerate(("test", "val")):
        paint_class(tmp_path / "pictures" / name, number, 10)
    assert set_up(tmp_path / "pictures").class_names == ("test", "val")


@pytest.mark.parametrize("part", ["val", "test"])
def test_classes_that_train_has_not_are_refused(tmp_path, part):
    root = lay_out(tmp_path, "train", part)
    paint(root / part / "dog" / "a.png")
    assert f"expected the class folders of train in {part} too, not ['dog']" in error(root)


# The split


def test_parts_are_disjoint_and_cover_all(root):
    assert everything(set_up(root)) == [(number, i) for number in range(3) for i in range(20 + 10 * number)]


@pytest.mark.parametrize(("val_fraction", "test_fraction"), [(0.1, 0.1), (0.3, 0.1), (0.1, 0.5)])
def test_each_class_gives_the_same_fraction(root, val_fraction, test_fraction):
    module = set_up(root, val_fraction=val_fraction, test_fraction=test_fraction)
    counts = {part: [0, 0, 0] for part in PARTS}
    for part, found in parts(module).items():
        for label, _ in found:
            counts[part][label] += 1
    assert counts["val"] == [round(val_fraction * num) for num in (20, 30, 40)]
    assert counts["test"] == [round(test_fraction * num) for num in (20, 30, 40)]


def test_split_seed_alone_decides(root):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = file_names(set_up(root, split_seed=7))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert file_names(set_up(root, split_seed=7, batch_size=3, max_side=20, num_buckets=2)) == first


def test_another_split_seed_gives_another_split(root):
    first, second = (parts(set_up(root, split_seed=seed)) for seed in (1, 2))
    assert all(first[part] != second[part] for part in PARTS)


def test_split_does_not_follow_the_names(root):
    """Pictures of one camera lie side by side: those held out come from everywhere."""
    numbers = [number for label, number in parts(set_up(root))["test"] if label == 2]
    assert len(numbers) == 4
    assert max(numbers) - min(numbers) > 10


def test_split_leaves_the_global_generators_alone(root):
    torch.manual_seed(5)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    set_up(root)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002


# Batches


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("part", PARTS)
def test_batches_are_uint8_images_of_one_size_and_int64_labels(root, part, in_channels):
    module = set_up(root, in_channels=in_channels, num_buckets=3)
    assert module.in_channels == in_channels
    found = set()
    for images, labels in loaders(module)[part]:
        assert 1 <= len(images) == len(labels) <= 4
        assert images.shape[1] == in_channels
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        found.add(tuple(images.shape[2:]))
    assert found == set(module.image_sizes[part])


@pytest.mark.parametrize("part", PARTS)
def test_pictures_keep_their_labels(root, part):
    for images, labels in loaders(set_up(root))[part]:
        assert torch.equal(images[:, 0, 0, 0] // 50, labels)


def test_bounds_of_the_sizes_are_kept(root):
    bounds = {"max_side": 48, "num_buckets": 2, "max_aspect_change": 1.15, "max_enlargement": 1.1}
    module = set_up(root, **bounds)
    sizes = {size for part in module.image_sizes.values() for size in part}
    assert len(sizes) > 2  # of aspect ratios 4:3, 3:4 and 1:1, of which no two can be one size
    for pictures in module._sets.values():
        for file, size in zip(pictures.files, pictures.sizes.tolist(), strict=True):
            with Image.open(file) as image:
                w, h = image.size
            assert max(size) <= 48
            change = Fraction(size[0] * w, size[1] * h)
            assert max(change, 1 / change) <= 1.15 + 1e-9
            assert size[0] <= 1.1 * h + 1e-9
            assert size[1] <= 1.1 * w + 1e-9


def test_num_buckets_is_the_number_of_sizes(root):
    module = set_up(root, num_buckets=2, max_aspect_change=2.0)
    assert len({size for part in module.image_sizes.values() for size in part}) <= 2


def test_pictures_are_resized_as_read_images_does(root):
    module = set_up(root, num_buckets=2, max_aspect_change=2.0)
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    file = module._sets["val"].files[0]
    Image.fromarray(noise).save(file)
    images, labels = module._sets["val"][[0]]
    assert torch.equal(images, read_images([file], 3, tuple(module._sets["val"].sizes[0].tolist())))
    assert labels.tolist() == [CLASSES.index(file.parent.name)]


def test_max_pixels_per_batch(root):
    module = set_up(root, max_pixels_per_batch=3000)
    numbers = {}
    for images, _ in module.train_dataloader():
        assert len(images) * images[0, 0].numel() <= 3000
        numbers[images.shape[2:]] = max(numbers.get(images.shape[2:], 0), len(images))
    assert len(set(numbers.values())) > 1


def test_pixels_too_few_for_the_largest_picture_are_refused(root):
    """When it is set up: a Trainer would find out in the middle of an epoch."""
    assert "got max_pixels_per_batch=1000, expected at least the " in error(root, max_pixels_per_batch=1000)


def test_normalisation_is_imagenets(root):
    module = set_up(root)
    assert module.mean == (0.485, 0.456, 0.406)
    assert module.std == (0.229, 0.224, 0.225)
    images, labels = next(iter(module.val_dataloader()))
    converted, kept = module.on_after_batch_transfer([images, labels], 0)
    for channel in range(3):
        expected = (images[:, channel].float() / 255 - module.mean[channel]) / module.std[channel]
        torch.testing.assert_close(converted[:, channel], expected)
    assert torch.equal(kept, labels)


def test_normalisation_of_grey_is_the_mean_of_the_channels(root):
    module = set_up(root, in_channels=1)
    assert module.mean == (pytest.approx((0.485 + 0.456 + 0.406) / 3, abs=5e-4),)
    assert module.std == (pytest.approx((0.229 + 0.224 + 0.225) / 3, abs=5e-4),)


def test_no_normalisation(root):
    module = set_up(root, normalize=False)
    batch = next(iter(module.val_dataloader()))
    assert torch.equal(module.on_after_batch_transfer(batch, 0)[0], batch[0].float() / 255)


@pytest.mark.parametrize(
    ("augment", "training", "changes"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_augmentation_is_for_training_alone(root, augment, training, changes):
    module = set_up(root, augment=augment, normalize=False)
    module.trainer = SimpleNamespace(lightning_module=torch.nn.Module().train(training))
    images = torch.randint(256, (20, 3, 30, 40), dtype=torch.uint8)
    shown, _ = module.on_after_batch_transfer([images, torch.zeros(20)], 0)
    assert (not torch.equal(shown, images.float() / 255)) == changes


def test_training_pictures_are_evaluated_as_they_are(root):
    module = set_up(root)
    assert sorted(shown(module.evaluation_dataloader("train"))) == parts(module)["train"]
    chosen = shown(module.evaluation_dataloader("train", 13))
    assert len(chosen) == len(set(chosen)) == 13
    assert set(chosen) < set(parts(module)["train"])


def test_the_pictures_of_an_epoch_are_counted(root):
    module = set_up(root)
    assert module.images_per_epoch == len(shown(module.train_dataloader()))


@pytest.mark.parametrize("in_channels", [1, 3])
def test_a_picture_to_show_is_what_the_model_is_shown(root, in_channels):
    module = set_up(root, in_channels=in_channels)
    for part in PARTS:
        for index in (0, len(module._sets[part]) - 1):
            file, size = module._sets[part].files[index], module._sets[part].sizes[index]
            expected = read_images([file], in_channels, tuple(size.tolist()))[0].permute(1, 2, 0)
            assert torch.equal(torch.from_numpy(module.picture(part, index)), expected)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_reading_leaves_the_global_generator_alone(root, num_workers):
    module = set_up(root, num_workers=num_workers)
    before = torch.get_rng_state()
    for part in PARTS:
        shown(getattr(module, f"{part}_dataloader")())
        shown(module.evaluation_dataloader(part, 7))
    assert torch.equal(torch.get_rng_state(), before)


# Formats


FORMATS = [("L", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg")]
FORMATS += [("RGB", "bmp"), ("RGB", "webp"), ("RGBA", "webp"), ("P", "gif"), ("CMYK", "tif"), ("RGB", "tif")]


@pytest.mark.parametrize("in_channels", [1, 3])
def test_modes_and_formats_side_by_side(tmp_path, in_channels):
    """White pictures of one class, black ones of the other."""
    for name, level in (("black", 0), ("white", 255)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for mode, suffix in FORMATS:
            Image.new("RGB", (24, 16), (level,) * 3).convert(mode).save(folder / f"{mode}.{suffix}")
        Image.fromarray(np.full((16, 24), level * 257, np.uint16)).save(folder / "sixteen.png")
    module = set_up(tmp_path / "pictures", in_channels=in_channels)
    num = 0
    for images, labels in (batch for loader in loaders(module).values() for batch in loader):
        num += len(images)
        assert images.shape[1:] == (in_channels, 16, 24)
        assert (images.float() - 255 * labels[:, None, None, None]).abs().max() <= 3
    assert num == 2 * len(FORMATS) + 2


# Epochs and ranks


def fake_trainer(rank, num_replicas):
    strategy = SimpleNamespace(broadcast=lambda _: 0)
    return SimpleNamespace(global_rank=rank, world_size=num_replicas, num_devices=num_replicas, strategy=strategy)


def epoch(module, index):
    loader = module.train_dataloader()
    loader.sampler.set_epoch(index)
    return shown(loader)


def test_every_training_picture_once_an_epoch_in_another_order(root):
    module = set_up(root)
    orders = [epoch(module, index) for index in range(3)]
    assert all(len(order) == len(set(order)) == 72 for order in orders)
    assert len({tuple(sorted(order)) for order in orders}) == 1
    assert orders[0] != orders[1] != orders[2]


def test_the_order_follows_the_seed_of_the_run(root):
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(epoch(set_up(root), 1))
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_ranks_share_the_pictures(root, num_replicas):
    module = set_up(root, num_buckets=2, max_aspect_change=2.0)
    whole = parts(module)
    found = {part: [] for part in PARTS}
    for rank in range(num_replicas):
        torch.manual_seed(rank)  # ranks may be seeded apart
        module.trainer = fake_trainer(rank, num_replicas)
        for part, loader in loaders(module).items():
            found[part] += shown(loader)
    assert sorted(found["val"]) == whole["val"]
    assert sorted(found["test"]) == whole["test"]
    assert len(found["train"]) == len(set(found["train"]))
    assert len(found["train"]) >= len(whole["train"]) - (num_replicas - 1) * 2


# Worker processes


def same(batches, others):
    return len(batches) == len(others) and all(
        torch.equal(a, b) for pair in zip(batches, others, strict=True) for a, b in zip(*pair, strict=True)
    )


def test_workers_give_the_same_batches(root):
    alone, helped = (set_up(root, num_workers=num) for num in (0, 2))
    for part in ("train", "val"):
        torch.manual_seed(3)
        first = getattr(alone, f"{part}_dataloader")()
        torch.manual_seed(3)
        second = getattr(helped, f"{part}_dataloader")()
        assert (first.num_workers, second.num_workers) == (0, 2)
        for index in range(2):  # of workers that live on
            first.sampler.set_epoch(index)
            second.sampler.set_epoch(index)
            assert same(list(first), list(second))


@pytest.mark.parametrize(("num_devices", "expected"), [(1, 6), (2, 3), (3, 2)])
def test_workers_share_the_processors(root, monkeypatch, num_devices, expected):
    asked = []
    monkeypatch.setattr(
        "set_aggregation.data.image_folder.suggested_max_num_workers", lambda num: asked.append(num) or 6 // num
    )
    module = set_up(root, num_workers=None)
    assert module.val_dataloader().num_workers == 6
    module.trainer = fake_trainer(0, num_devices)
    for loader in loaders(module).values():
        assert loader.num_workers == expected
    assert asked == [1] + [num_devices] * 3


def test_a_worker_that_breaks_names_the_file(root):
    module = set_up(root, num_workers=1)
    broken = module._sets["val"].files[0]
    broken.write_bytes(b"no image any more")
    with pytest.raises(ValueError, match=rf"got .*{broken.parent.name}/{broken.name}, which is not an image"):
        list(module.val_dataloader())


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b"x"), lambda file: file.unlink()])
def test_a_picture_that_breaks_after_the_look_is_named(root, spoil):
    module = set_up(root)
    broken = module._sets["val"].files[0]
    spoil(broken)
    with pytest.raises(ValueError, match=rf"got .*{broken.parent.name}/{broken.name}, which is not an image"):
        list(module.val_dataloader())


# Unreadable files


def spoil(root, num):
    """Files that cannot be read, in two classes."""
    files = [root / CLASSES[i % 2] / f"bad{i:03}.png" for i in range(num)]
    for file in files:
        file.write_bytes(b"no image")
    return files


@pytest.mark.parametrize("num", [1, 10])
def test_unreadable_files_stop_it_and_are_named(root, num):
    files = spoil(root, num)
    message = error(root)
    assert message.startswith(f"ImageFolder: got {num} of {90 + num} files that cannot be read: ")
    assert all(str(file) in message for file in files)
    assert "cannot identify image file" in message
    assert " more" not in message
    assert "--data.unreadable skip" in message


def test_at_most_ten_unreadable_files_are_named(root):
    spoil(root, 37)
    message = error(root)
    assert "got 37 of 127 files" in message
    assert message.count("bad0") == 2 * 10  # by us and by Pillow
    assert " and 27 more; mend or remove them" in message


def test_unreadable_files_are_skipped_with_a_warning(root):
    whole = everything(set_up(root))
    files = spoil(root, 12)
    with pytest.warns(UserWarning, match=r"^leaving out 12 of 102 files that cannot be read: .* and 2 more$") as caught:
        module = set_up(root, unreadable="skip")
    assert str(files[0]) in str(caught[0].message)
    assert everything(module) == whole


def test_a_class_of_unreadable_files_alone_is_refused(root):
    for file in (root / "bee").iterdir():
        file.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="leaving out 30 of 90"):
        assert "also bee" in error(root, unreadable="skip")


# Prediction


def predicted(module, files):
    module.predict_files = files
    module.setup("predict")
    batches = list(module.predict_dataloader())
    assert all(len(batch) == 1 for batch in batches)
    return [images for (images,) in batches]


def test_prediction_looks_at_no_training_picture(root, monkeypatch):
    monkeypatch.setattr(
        "set_aggregation.data.image_folder.picture_sizes", lambda *_: pytest.fail("they were looked at")
    )
    module = build(root)
    module.setup("predict")
    assert module.image_sizes == {}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_prediction_keeps_the_order_and_the_sizes(root, tmp_path, num_workers):
    shapes = [(20, 30), (20, 30), (20, 30), (30, 20), (20, 30), (48, 48), (96, 96), (96, 24), (480, 20), (2000, 3)]
    expected = [(30, 20)] * 3 + [(20, 30), (30, 20), (48, 48), (48, 48), (12, 48), (2, 48), (1, 48)]
    files = [paint(tmp_path / f"{9 - i}.png", (i, 0, 0), shape) for i, shape in enumerate(shapes)]
    batches = predicted(build(root, num_workers=num_workers, batch_size=2), files)
    assert [int(image[0, 0, 0]) for images in batches for image in images] == list(range(10))
    assert [tuple(image.shape[1:]) for images in batches for image in images] == expected
    assert [len(images) for images in batches] == [2, 1, 1, 1, 2, 1, 1, 1]


def test_prediction_of_very_many_pictures_of_mixed_sizes(root, tmp_path):
    order = np.random.default_rng(0).integers(0, 5, 120)
    files = [paint(tmp_path / f"{i}.png", (i, 0, 0), (10 + int(kind), 12)) for i, kind in enumerate(order)]
    batches = predicted(build(root), files)
    assert [int(image[0, 0, 0]) for images in batches for image in images] == list(range(120))
    assert [images.shape[3] for images in batches for _ in images] == (10 + order).tolist()


def test_prediction_is_upright(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (images,) = predicted(build(root), [paint(tmp_path / "a.jpg", (0, 0, 0), (96, 24), exif=exif)])
    assert images.shape == (1, 3, 48, 12)


def test_prediction_in_grey(root, tmp_path):
    (images,) = predicted(build(root, in_channels=1), [paint(tmp_path / "a.png", 77, (5, 7))])
    assert images.shape == (1, 1, 7, 5)
    assert (images == 77).all()


def test_prediction_names_a_file_that_cannot_be_read(root, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"got .*bad\.png, which is not an image"):
        predicted(build(root), [root / "ant" / "000.png", tmp_path / "bad.png"])


# Folders and arguments that do not do


def test_a_root_that_is_not_there(tmp_path):
    message = error(tmp_path / "nothing")
    assert message.startswith(
        f"ImageFolder: got root={tmp_path / 'nothing'}, expected a folder with a folder of pictures"
    )


def test_a_root_without_class_folders(tmp_path):
    paint(tmp_path / "pictures" / "a.png")
    assert "expected a folder with a folder of pictures for each class" in error(tmp_path / "pictures")


def test_a_root_that_is_a_file(tmp_path):
    assert "expected a folder with a folder of pictures" in error(paint(tmp_path / "a.png"))


def test_one_class_alone(tmp_path):
    paint_class(tmp_path / "pictures" / "ant", 0, 10)
    assert "expected a folder with a folder of pictures for each class" in error(tmp_path / "pictures")


def test_a_class_without_pictures_is_named(root):
    (root / "dog").mkdir()
    (root / "dog" / "notes.txt").write_text("not an image")
    message = error(root)
    assert message.startswith(f"ImageFolder: got root={root}, expected pictures to train on")
    assert message.endswith("also dog")


def test_classes_without_any_picture(tmp_path):
    for name in CLASSES:
        (tmp_path / "pictures" / name).mkdir(parents=True)
    assert "no image file in" in error(tmp_path / "pictures")


def test_a_part_must_get_a_picture(tmp_path):
    for number, name in enumerate(CLASSES):
        paint_class(tmp_path / "pictures" / name, number, 3)
    assert "got val_fraction=0.1, expected so many that a picture is left for it" in error(tmp_path / "pictures")
    message = error(tmp_path / "pictures", val_fraction=0.3)
    assert "got test_fraction=0.1, expected so many that a picture is left for it" in message


@pytest.mark.parametrize("part", ["val", "test"])
def test_an_empty_folder_of_a_part_is_named(tmp_path, part):
    root = lay_out(tmp_path, "train")
    (root / part).mkdir()
    message = error(root)
    assert part in message
    assert "fraction" not in message  # which would not help


def test_training_must_get_a_picture(tmp_path):
    for number, name in enumerate(CLASSES):
        paint_class(tmp_path / "pictures" / name, number, 2)
    message = error(tmp_path / "pictures", val_fraction=0.5, test_fraction=0.49)
    assert "expected pictures to train on in the folder of each class, also ant" in message


def test_a_picture_too_narrow_stops_it(root):
    paint(root / "ant" / "narrow.png", (0, 0, 0), (2000, 3))
    assert "got an image of 3x2000, which max_side=48 makes 1x48" in error(root)


def test_a_picture_too_narrow_is_named(root):
    """Or nobody finds it among very many."""
    paint(root / "ant" / "narrow.png", (0, 0, 0), (2000, 3))
    assert "narrow.png" in error(root)


BAD = {
    "batch_size": (0, -1),
    "max_pixels_per_batch": (0,),
    "max_side": (0, -5),
    "num_buckets": (0, -1),
    "max_aspect_change": (1, 0.8, -1, float("nan")),
    "max_enlargement": (0.99, 0, -2, float("nan")),
    "val_fraction": (0, 1, -0.1, 1.5, float("nan")),
    "test_fraction": (0, 1, 0.9, -0.1, float("nan")),
    "split_seed": (-1,),
    "num_workers": (-1,),
    "in_channels": (0, 2, 4),
    "unreadable": ("ignore", ""),
}


@pytest.mark.parametrize(("argument", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_arguments_out_of_their_range_are_refused_when_built(root, argument, value):
    with pytest.raises(ValueError, match=rf"^ImageFolder: got {argument}={value}, expected "):
        build(root, **{argument: value})


EDGES = [{"max_side": 1, "max_aspect_change": 2.0}, {"num_buckets": 1}, {"max_aspect_change": 1.02}, {"split_seed": 1}]
EDGES += [
    {"max_enlargement": 1},
    {"batch_size": 1},
    {"batch_size": 10_000},
    {"val_fraction": 0.5, "test_fraction": 0.45},
]


@pytest.mark.parametrize("arguments", EDGES)
def test_arguments_at_the_edge_of_their_range_do(root, arguments):
    assert len(everything(set_up(root, **arguments))) == 90


# Setting up


def test_setup_looks_once(root, monkeypatch):
    module = build(root)
    looks = []
    look = ImageFolder._look
    monkeypatch.setattr(ImageFolder, "_look", lambda self: looks.append(1) or look(self))
    for stage in ("fit", "validate", "test", "fit"):
        module.setup(stage)
    assert len(looks) == 1


def test_a_second_start_decodes_nothing(root, monkeypatch):
    first = file_names(set_up(root))
    monkeypatch.setattr(
        "set_aggregation.data.picture_sizes.read_image", lambda *_, **__: pytest.fail("a file was read")
    )
    assert file_names(set_up(root)) == first


# Under a Trainer


class Viewer(LightningModule):
    """Keeps what it is shown, by epoch and stage."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [[], []], "val": [], "test": []}

    def training_step(self, batch, batch_idx):
        self.seen["train"][self.current_epoch].append(batch)
        return self.weight * batch[0].sum()

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append(batch)

    def test_step(self, batch, batch_idx):
        self.seen["test"].append(batch)

    def predict_step(self, batch, batch_idx):
        (images,) = batch
        return (255 * images[:, 0, 0, 0]).round().int()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.fixture
def trainer(tmp_path):
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return quiet_trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_fit_test_and_predict(root, tmp_path, trainer, num_workers):
    module, viewer = build(root, normalize=False, num_workers=num_workers), Viewer()
    trainer.fit(viewer, module)
    trainer.test(viewer, module)
    expected = parts(set_up(root))
    first, second = (
        [picture(*pair) for batch in batches for pair in zip(*batch, strict=True)] for batches in viewer.seen["train"]
    )
    assert sorted(first) == sorted(second) == expected["train"]
    assert first != second  # or set_epoch does not reach the sampler
    assert sorted(shown_floats(viewer.seen["val"])) == sorted(expected["val"] * 2)
    assert sorted(shown_floats(viewer.seen["test"])) == expected["test"]
    module.predict_files = [paint(tmp_path / f"{i}.png", (i, 0, 0), (20 + i % 3, 9)) for i in range(12)]
    assert torch.cat(trainer.predict(viewer, module)).tolist() == list(range(12))


def picture(image, label):
    """Class and number of a picture, whose label is its class."""
    red, green, _ = (255 * image[:, 0, 0]).round().int().tolist()
    assert red // 50 == label
    return red // 50, green


def shown_floats(batches):
    return [picture(image, label) for images, labels in batches for image, label in zip(images, labels, strict=True)]
