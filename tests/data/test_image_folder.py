"""Images in folders: classes, a split, a handful of sizes, worker processes.

The colour of a picture tells its class, its exact shade tells the picture.
"""

import logging
import re
import shutil
from collections import Counter
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


def paint(file, colour=(0, 0, 0), shape=(32, 32), **options):
    """A picture of one colour."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if isinstance(colour, tuple) else "L", shape, colour).save(file, **options)
    return file


def paint_class(folder, number, num, first=0):
    """Pictures whose red is their class and whose green is their number, of several shapes."""
    for i in range(first, first + num):
        paint(folder / f"{i:03}.png", (50 * number, i, 7), SHAPES[i % len(SHAPES)])


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Three classes of 20, 30 and 40 pictures of six sizes."""
    folder = tmp_path_factory.mktemp("painted")
    for number, name in enumerate(CLASSES):
        paint_class(folder / name, number, 20 + 10 * number)
    return folder


@pytest.fixture
def root(painted, tmp_path):
    """A copy of them."""
    return shutil.copytree(painted, tmp_path / "pictures")


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
    return {part: [str(file.relative_to(module.root)) for file in module.parts[part].files] for part in PARTS}


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
    for files, labels in ((module.parts[part].files, module.parts[part].labels.tolist()) for part in PARTS):
        assert [module.class_names[label] for label in labels] == [file.parent.name for file in files]


def test_hidden_folders_and_files_beside_the_classes_are_passed_over(root):
    paint(root / ".thumbnails" / "a.png")
    paint(root / "cover.png")
    (root / "notes.txt").write_text("not an image")
    (root / "ant" / "labels.csv").write_text("not an image")
    module = set_up(root)
    assert module.class_names == CLASSES
    assert sum(map(len, module.parts.values())) == 90


# Layouts


def lay_out(tmp_path, *names):
    """Folders of three classes, whose pictures are numbered from 0, 100, 200."""
    for first, name in zip((0, 100, 200), names, strict=False):
        for number, class_name in enumerate(CLASSES):
            paint_class(tmp_path / "pictures" / name / class_name, number, 10, first)
    return tmp_path / "pictures"


def folders_of(module):
    return {part: dict(Counter(name.split("/")[0] for name in names)) for part, names in file_names(module).items()}


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Valid", "Test"), ("training", "validation", "testing")]
)
def test_folders_for_all_parts(tmp_path, names):
    module = set_up(lay_out(tmp_path, *names))
    assert module.class_names == CLASSES
    assert folders_of(module) == {part: {name: 30} for part, name in zip(PARTS, names, strict=True)}


def test_test_is_held_out_where_only_val_is_there(tmp_path):
    module = set_up(lay_out(tmp_path, "train", "val"), test_fraction=0.3)
    assert folders_of(module) == {"train": {"train": 21}, "val": {"val": 30}, "test": {"train": 9}}


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


@pytest.mark.parametrize("part", ["val", "test"])
def test_classes_that_train_has_not_are_refused(tmp_path, part):
    root = lay_out(tmp_path, "train", part)
    paint(root / part / "dog" / "a.png")
    assert re.search(f"expected the class folders of train in .*{part}, not .*dog", error(root))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train", "val", "valid"), r"one folder for each of .*not \['val', 'valid'\]"),
        (("train2017", "val2017", "test2017"), "test2017"),
        (("train", "test_set"), "test_set"),
        (("cats", "dogs", "Testing"), "Testing"),
    ],
)
def test_folders_that_look_like_splits_are_refused(tmp_path, names, message):
    assert re.search(message, error(lay_out(tmp_path, *names)))


def test_other_folders_beside_the_splits_are_named(tmp_path):
    with pytest.warns(UserWarning, match="ignoring.*'masks'"):
        assert set_up(lay_out(tmp_path, "train", "test", "masks")).class_names == CLASSES


def test_folders_of_the_system_are_skipped_and_links_followed(root):
    for name in ("__MACOSX", "$RECYCLE.BIN", "@eaDir", "System Volume Information", "lost+found"):
        paint(root / name / "a.png")
    paint_class(root.parent / "more", 0, 10, first=100)
    (root / "ant" / "link").symlink_to(root.parent / "more")
    module = set_up(root)
    assert module.class_names == CLASSES
    assert {(0, number) for number in range(100, 110)} < set(everything(module))


def write_table(root, rows, header="file,label"):
    (root / "labels.csv").write_text("\n".join([header, *rows]))
    return {"labels": root / "labels.csv"}


def test_labels_of_a_table(tmp_path):
    for number in (0, 1):
        paint_class(tmp_path, number, 20, first=20 * number)
    rows = [f"{i:03}.png,{'ant' if i < 20 else 'bee'}" for i in range(40)]
    module = set_up(tmp_path, **write_table(tmp_path, rows))
    assert module.class_names == ("ant", "bee")
    assert everything(module) == [(i // 20, i) for i in range(40)]
    for images, labels in module.train_dataloader():
        assert torch.equal(images[:, 0, 0, 0] // 50, labels)


def test_a_table_of_a_spreadsheet(tmp_path):
    """A byte order mark, line ends of Windows, absolute paths and splits in capitals."""
    paint_class(tmp_path, 0, 12)
    rows = [f"{tmp_path}/{i:03}.png,{'ab'[i % 2]},{PARTS[i // 4].capitalize()}" for i in range(12)]
    table = tmp_path / "labels.csv"
    table.write_bytes("\r\n".join(["file,label,split", *rows, ""]).encode("utf-8-sig"))
    module = set_up(tmp_path, labels=table)
    assert parts(module) == {part: [(0, i) for i in range(4 * k, 4 * k + 4)] for k, part in enumerate(PARTS)}


def test_splits_of_a_table(tmp_path):
    paint_class(tmp_path, 0, 12)
    rows = [f"{i:03}.png,{'ab'[i % 2]},{PARTS[i // 4]}" for i in range(12)]
    module = set_up(tmp_path, **write_table(tmp_path, rows, "file,label,split"))
    assert parts(module) == {part: [(0, i) for i in range(4 * k, 4 * k + 4)] for k, part in enumerate(PARTS)}


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("name,label", "000.png,b", "columns file and label"),
        ("file,label", "missing.png,b", r"files that exist, unlike .*missing\.png"),
        ("file,label", "001.png,a", "two classes"),
        ("file;label", "001.png;b", "columns file and label with commas"),
        ("file,label", "001.png,", r"a label in each row, unlike .*001\.png"),
        ("file,label", "001.png", r"a label in each row, unlike .*001\.png"),
        ("file,label", "../{root}/000.png,b", r"each file once, unlike .*000\.png"),
        ("file,label,split", "000.png,a,val", r"each file once, unlike .*000\.png"),
        ("file,label,split", "001.png,b,holdout", "column split, unlike .*holdout"),
        ("file,label,split", "001.png,b,val", r"got labels=.*training images of each class, unlike b$"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, header, row, message):
    paint_class(tmp_path, 0, 2)
    table = write_table(
        tmp_path, ["000.png,a,train"[: None if "split" in header else 9], row.format(root=tmp_path.name)], header
    )
    assert re.search(message, error(tmp_path, **table))


@pytest.mark.parametrize(("dtype", "white", "largest"), [(np.uint16, 1023, 1000), (np.float32, 1, 1.02)])
def test_all_images_have_one_scale(root, dtype, white, largest):
    """A dark image beside a bright one: of 10 bits, and of floats that exceed white a little."""
    files = {root / "ant" / "dark.tif": largest / 8, root / "ant" / "bright.tif": largest}
    for file, value in files.items():
        Image.fromarray(np.full((32, 32), value, dtype)).save(file)
    with pytest.warns(UserWarning, match=f"; {white} is taken for white in all of them") as caught:
        module = set_up(root, in_channels=1)
    assert len(caught) == 1
    expected = {file: min(255, value * 255 / white) for file, value in files.items()}
    found = {
        file: float(images[[i]][0].max())
        for images in module.parts.values()
        for i, file in enumerate(images.files)
        if file in files
    }
    assert found == pytest.approx(expected, abs=1)
    assert module.image_description["white"] == white


def test_white_is_given(root):
    Image.fromarray(np.full((32, 32), 100, np.uint16)).save(root / "ant" / "a.tif")
    assert set_up(root, white=65535).white == 65535


def test_a_class_too_small_for_a_share_is_named(root):
    paint_class(root / "rare", 3, 2)
    with pytest.warns(UserWarning, match=r"rare \(2\) in val, rare \(2\) in test"):
        assert len(everything(set_up(root))) == 92


def test_a_narrow_image_is_named_and_kept(root):
    paint(root / "bee" / "narrow.png", (50, 99, 7), (3000, 20))
    with pytest.warns(UserWarning, match=r"1 images are too narrow.*narrow\.png \(20x3000\)"):
        module = set_up(root)
    assert (1, 99) in everything(module)


def test_a_damaged_body_is_named_when_it_is_read(root):
    file = root / "ant" / "000.png"
    file.write_bytes(file.read_bytes()[:-30])
    module = set_up(root)
    with pytest.raises(ValueError, match=r"got .*ant/000\.png"):
        everything(module)
    with pytest.warns(UserWarning, match="leaving out 1 of 90"):
        assert len(everything(set_up(root, unreadable="skip"))) == 89


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


# Batches


@pytest.mark.parametrize(("part", "in_channels"), [("train", 3), ("test", 1)])
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


def test_pictures_are_resized_as_read_images_does(root):
    module = set_up(root, num_buckets=2, max_aspect_change=2.0)
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    file = module.parts["val"].files[0]
    Image.fromarray(noise).save(file)
    images, labels = module.parts["val"][[0]]
    assert torch.equal(images, read_images([file], 3, tuple(module.parts["val"].sizes[0].tolist())))
    assert labels.tolist() == [CLASSES.index(file.parent.name)]


# Worker processes


def same(batches, others):
    return len(batches) == len(others) and all(
        torch.equal(a, b) for pair in zip(batches, others, strict=True) for a, b in zip(*pair, strict=True)
    )


@pytest.mark.slow
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
    strategy = SimpleNamespace(broadcast=lambda seed: seed)
    module.trainer = SimpleNamespace(num_devices=num_devices, global_rank=0, world_size=1, strategy=strategy)
    for loader in loaders(module).values():
        assert loader.num_workers == expected
    assert asked == [1] + [num_devices] * 3


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
        assert "0 images of bee" in error(root, unreadable="skip")


# Folders and arguments that do not do


def test_a_root_that_is_not_there(tmp_path):
    message = error(tmp_path / "nothing")
    assert message.startswith(f"got root={tmp_path / 'nothing'}, expected a folder with a folder of images")


def test_one_class_alone(tmp_path):
    paint_class(tmp_path / "pictures" / "ant", 0, 10)
    assert "expected a folder with a folder of images for each class" in error(tmp_path / "pictures")


def test_a_class_without_pictures_is_named(root):
    (root / "dog").mkdir()
    (root / "dog" / "notes.txt").write_text("not an image")
    message = error(root)
    assert message.startswith(f"got root={root}, expected images to train on")
    assert "dog" in message


def test_a_part_must_get_a_picture(tmp_path):
    for number, name in enumerate(CLASSES):
        paint_class(tmp_path / "pictures" / name, number, 3)
    assert "got val_fraction=0.1, expected enough to leave an image for" in error(tmp_path / "pictures")
    message = error(tmp_path / "pictures", val_fraction=0.3)
    assert "got test_fraction=0.1, expected enough to leave an image for" in message


BAD = {
    "batch_size": (0,),
    "max_side": (0,),
    "max_aspect_change": (1, float("nan")),
    "max_enlargement": (0.99,),
    "val_fraction": (0, 1, float("nan")),
    "test_fraction": (0.9,),
    "split_seed": (-1,),
    "num_workers": (-1,),
    "in_channels": (2,),
    "unreadable": ("ignore",),
}


@pytest.mark.parametrize(("argument", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_arguments_out_of_their_range_are_refused_when_built(painted, argument, value):
    with pytest.raises(ValueError, match=rf"^ImageFolder: got {argument}={value!r}, expected "):
        build(painted, **{argument: value})


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

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.fixture
def trainer(tmp_path):
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return quiet_trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0)


@pytest.mark.slow
def test_fit_and_test(root, trainer):
    module, viewer = build(root, normalize=False), Viewer()
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


def picture(image, label):
    """Class and number of a picture, whose label is its class."""
    red, green, _ = (255 * image[:, 0, 0]).round().int().tolist()
    assert red // 50 == label
    return red // 50, green


def shown_floats(batches):
    return [picture(image, label) for images, labels in batches for image, label in zip(images, labels, strict=True)]
