"""Image files of any size: a folder per class, or a folder with a table of labels."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader

from set_aggregation.data.base import ImageDataModule
from set_aggregation.data.file_set import FileSet, sizes_of_files
from set_aggregation.data.image_files import find_images, guess_white, is_hidden, shrink, upright_size
from set_aggregation.data.image_set import Size
from set_aggregation.data.size_buckets import choose_buckets
from set_aggregation.data.transforms import Mix

_NAMED = 10  # files named in a message
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LIKE_A_SPLIT = re.compile(
    r"(train(ing)?|val(id(ation)?)?|test(ing)?|eval(uation)?|dev|hold[-_ ]?out)([\W\d_].*|set|data|images)?", re.I
)
_Found = dict[str, list[tuple[Path, int]]]  # files and class indices of each part


class ImageFolder(ImageDataModule):
    """Images in a folder per class, as ``torchvision.datasets.ImageFolder`` has them, but of any size.

    Each image is resized to one of a few sizes, chosen from the data so that aspect ratios change little and images
    are hardly enlarged (see :func:`~set_aggregation.data.choose_buckets`); a batch has images of one size. Worker
    processes decode them.

    ``root`` contains the class folders, or the folders ``train``, ``val`` and ``test`` that contain them (or
    ``Training``, ``valid``, ``validation``, ``testing``). A missing part is held out of the training images, the same
    fraction of each class. Files at any depth below a class folder count if Pillow decodes
    their format.

    With ``labels`` the classes come from a CSV file with the columns ``file`` (relative to ``root``) and ``label``, and
    optionally ``split`` (train, val or test).

    ``setup`` reads the headers of all files. A damaged image is an error when it is decoded; with
    ``unreadable="skip"`` all files are decoded in ``setup`` and damaged ones skipped.

    Args:
        root: the folder.
        labels: CSV file of labels; None expects one folder for each class.
        batch_size: images in a batch on one rank.
        max_pixels_per_batch: number of pixels in a batch, instead of ``batch_size``.
        max_side: images are shrunk until neither side is longer.
        num_buckets: number of different sizes.
        max_aspect_change: factor by which the aspect ratio of an image may change.
        max_enlargement: factor by which a side of an image may grow.
        val_fraction: fraction of the images held out for validation.
        test_fraction: fraction of the images held out for the test.
        split_seed: seed of the split, independent of the seed of the run.
        in_channels: 3 for colour, 1 for grey.
        unreadable: ``"stop"`` with an error that names the files that cannot be read, or ``"skip"`` them with a
            warning.
        white: value of white in images of more than 8 bits that do not state it; None guesses one value for all of them
            from the largest value in some of them, which a trained model keeps.
        num_workers: worker processes on one rank; None divides the processors among the ranks.
        normalize: subtract ImageNet's mean and divide by its standard deviation.
        augment: random crop and flip of the training images.
        mix: see :class:`~set_aggregation.data.ImageDataModule`.

    Raises:
        ValueError: no classes, a class without images, folders that are neither splits nor classes, unreadable files,
            or an argument out of its range.
    """

    image_size = None
    max_side: int
    flip = True

    def __init__(
        self,
        root: Path,
        labels: Path | None = None,
        batch_size: int = 32,
        max_pixels_per_batch: int | None = None,
        max_side: int = 224,
        num_buckets: int = 8,
        max_aspect_change: float = 1.25,
        max_enlargement: float = 1.25,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        in_channels: Literal[1, 3] = 3,
        unreadable: Literal["stop", "skip"] = "stop",
        white: float | None = None,
        num_workers: int | None = None,
        normalize: bool = True,
        augment: bool = False,
        mix: Mix | None = None,
    ) -> None:
        super().__init__(batch_size, max_pixels_per_batch, normalize, augment, mix)
        self._at_least(1, max_side=max_side, num_buckets=num_buckets)
        self._at_least(0, split_seed=split_seed, num_workers=num_workers)
        self._check("max_aspect_change", max_aspect_change, max_aspect_change > 1, "more than 1")
        self._check("max_enlargement", max_enlargement, max_enlargement >= 1, "at least 1")
        self._check("val_fraction", val_fraction, 0 < val_fraction < 1, "between 0 and 1")
        self._check("test_fraction", test_fraction, 0 < test_fraction < 1 - val_fraction, "less than the rest")
        self._check("in_channels", in_channels, in_channels in (1, 3), "1 or 3")
        self._check("unreadable", unreadable, unreadable in ("stop", "skip"), "'stop' or 'skip'")
        self._check("white", white, white is None or white > 0, "more than 0")
        self.root = Path(root).expanduser()
        self.labels = None if labels is None else Path(labels).expanduser()
        self._folders: dict[str, Path] = {}
        self._table: list[tuple[Path, str, str]] = []
        if self.labels is None:
            self._folders = self._part_folders()
            self.class_names = _subfolders(self._folders["train"])
            self._check("root", root, len(self.class_names) >= 2, "a folder with a folder of images for each class")
        else:
            self._table = self._read_table(self.labels)
            self.class_names = tuple(sorted({label for _, label, _ in self._table}))
            self._check("labels", labels, len(self.class_names) >= 2, "at least two classes in the column label")
            trained = {label for _, label, split in self._table if _SPLITS.get(split, "train") == "train"}
            untrained = [name for name in self.class_names if name not in trained]
            expected = f"training images of each class, also of {untrained[:_NAMED]}, which are in val or test only"
            self._check("labels", labels, not untrained, expected)
        for folder in self._folders.values():
            unknown = set(_subfolders(folder)) - set(self.class_names)
            self._check("root", root, not unknown, f"the class folders of train in {folder}, not {sorted(unknown)}")
        self.num_classes = len(self.class_names)
        self.max_side = max_side
        self.num_buckets = num_buckets
        self.max_aspect_change = max_aspect_change
        self.max_enlargement = max_enlargement
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.in_channels = in_channels
        self.unreadable = unreadable
        self.white = white
        self.num_workers = num_workers
        # Of ImageNet's photographs; for grey the mean over the channels.
        self.mean = (0.485, 0.456, 0.406) if in_channels == 3 else (0.449,)
        self.std = (0.229, 0.224, 0.225) if in_channels == 3 else (0.226,)

    def load_parts(self, names: Sequence[str]) -> Mapping[str, FileSet]:
        """Read the headers of the files, split the images and choose their sizes."""
        found = self._from_table() if self.labels else self._from_folders()
        files = [file for pairs in found.values() for file, _ in pairs]
        own_sizes, reasons = sizes_of_files(files, decode=self.unreadable == "skip")
        if reasons:
            self._report(reasons, len(files))
        found = {part: [pair for pair in pairs if pair[0] in own_sizes] for part, pairs in found.items()}
        parts = self._hold_out(found)
        ordered = [file for pairs in parts.values() for file, _ in pairs]
        own = np.array([own_sizes[file] for file in ordered])
        if self.white is None and (white := guess_white(sorted(ordered))) is not None:
            self.white = white
            rank_zero_warn(
                f"ImageFolder: images of more than 8 bits do not state their range; {white:g} is taken for white in "
                "all of them, guessed from their largest value; set --data.white if it is another"
            )
        self._warn_of_narrow_images(ordered, own)
        sizes = choose_buckets(own, self.max_side, self.num_buckets, self.max_aspect_change, self.max_enlargement)
        sets = {}
        for part, pairs in parts.items():
            of_part, labels = zip(*pairs, strict=True)
            sets[part] = FileSet(of_part, sizes[: len(pairs)], self.in_channels, torch.tensor(labels), self.white)
            sizes = sizes[len(pairs) :]
        return sets

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return batches of the images in ``predict_files``, in their order, without labels, at their own sizes."""
        sizes = [shrink(upright_size(file), self.max_side) for file in self.predict_files]
        images = FileSet(self.predict_files, np.array(sizes), self.in_channels, white=self.white)
        return self._loader(images, list(_runs(sizes, self.batch_size)))

    def _loader(self, images: Any, sampler: Iterable[list[int]]) -> DataLoader[Any]:
        num_workers = self.num_workers
        if num_workers is None:
            num_workers = suggested_max_num_workers(1 if self.trainer is None else self.trainer.num_devices)
        return DataLoader(
            images,
            batch_size=None,
            sampler=sampler,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=self._generator(),
        )

    def _part_folders(self) -> dict[str, Path]:
        """Return the folder of each split in ``root``, or ``root`` for training where its folders are classes."""
        names = _subfolders(self.root)
        splits = {name: _SPLITS[name.lower()] for name in names if name.lower() in _SPLITS}
        alike = [name for name in names if _LIKE_A_SPLIT.fullmatch(name)]
        others = sorted(set(names) - set(splits))
        if "train" not in splits.values() or (others and set(splits.values()) == {"train"}):
            alike = [name for name in alike if name.lower() != "train"]  # a class may be called train
            self._check("root", self.root, not alike, f"{alike} to be classes or beside a folder train; rename them")
            return {"train": self.root}
        alike = [name for name in alike if name not in splits]
        self._check("root", self.root, not alike, f"splits called train, val and test, not {alike} too; rename them")
        for part in _SPLITS.values():
            same = [name for name, of_part in splits.items() if of_part == part]
            self._check("root", self.root, len(same) < 2, f"one folder for {part}, not {same}; remove or merge them")
        if others:
            rank_zero_warn(f"ImageFolder: ignoring {others} beside {sorted(splits)} in {self.root}")
        return {part: self.root / name for name, part in splits.items()}

    def _from_folders(self) -> _Found:
        found: _Found = {part: [] for part in self._folders}
        for part, root in self._folders.items():
            for number, name in enumerate(self.class_names):
                folder = root / name
                try:
                    found[part] += [(file, number) for file in find_images([folder] if folder.is_dir() else [])]
                except ValueError:  # no images
                    self._check("root", self.root, part != "train", f"images to train on in {folder}")
        return found

    def _read_table(self, file: Path) -> list[tuple[Path, str, str]]:
        try:
            with file.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets write a byte order mark
                rows = [
                    (self.root / row["file"], row["label"] or "", (row.get("split") or "").strip().lower())
                    for row in csv.DictReader(lines)
                ]
        except (OSError, KeyError, UnicodeDecodeError) as error:
            message = f"got labels={file} ({type(error).__name__}: {error}), expected UTF-8, columns file and label"
            raise ValueError(f"ImageFolder: {message} with commas between them") from error
        missing = [str(path) for path, _, _ in rows if not path.is_file()]
        self._check("labels", file, not missing, f"files that exist, not {missing[:_NAMED]} ({len(missing)} files)")
        empty = [str(path) for path, label, _ in rows if not label.strip()]
        self._check("labels", file, not empty, f"a label in each row, also of {empty[:_NAMED]} ({len(empty)} rows)")
        twice = [str(path) for path, num in Counter(path.resolve() for path, _, _ in rows).items() if num > 1]
        self._check("labels", file, not twice, f"each file once, also {twice[:_NAMED]} ({len(twice)} files)")
        unknown = sorted({split for _, _, split in rows} - set(_SPLITS) - {""})
        self._check("labels", file, not unknown, f"train, val or test in the column split, not {unknown}")
        return rows

    def _from_table(self) -> _Found:
        numbers = {name: number for number, name in enumerate(self.class_names)}
        found: _Found = {"train": []}
        for file, label, split in self._table:
            found.setdefault(_SPLITS.get(split, "train"), []).append((file, numbers[label]))
        return found

    def _hold_out(self, found: _Found) -> _Found:
        """Hold out the missing parts of the training images, the same fraction of each class."""
        fractions = {"val": self.val_fraction, "test": self.test_fraction}
        missing = {part: fraction for part, fraction in fractions.items() if not found.get(part)}
        parts: _Found = {part: list(found.get(part, [])) for part in fractions}
        train: list[tuple[Path, int]] = []
        small = []
        rng = np.random.default_rng(self.split_seed)
        for number, name in enumerate(self.class_names):
            images = [pair for pair in found["train"] if pair[1] == number]
            rest = [images[i] for i in rng.permutation(len(images))]
            for part, fraction in missing.items():
                num = round(fraction * len(images))
                small += [] if num else [f"{name} ({len(images)}) in {part}"]
                parts[part] += rest[:num]
                rest = rest[num:]
            self._check("root", self.root, bool(rest), f"images to train on in each class, also {name}")
            train += rest
        for part, fraction in missing.items():
            self._check(f"{part}_fraction", fraction, bool(parts[part]), f"enough to leave an image for {part}")
        if small:
            rank_zero_warn(
                f"ImageFolder: classes with too few images to hold one out: {', '.join(small[:_NAMED])}; the accuracy "
                "does not measure them"
            )
        return {"train": train, **parts}

    def _warn_of_narrow_images(self, files: Sequence[Path], sizes: np.ndarray[Any, Any]) -> None:
        narrow = np.flatnonzero(sizes.max(1) > sizes.min(1) * self.max_side * self.max_aspect_change)
        if len(narrow):
            names = ", ".join(f"{files[i]} ({sizes[i, 0]}x{sizes[i, 1]})" for i in narrow[:_NAMED])
            rank_zero_warn(
                f"ImageFolder: {len(narrow)} images are too narrow for max_side={self.max_side} and change their "
                f"aspect ratio by more than {self.max_aspect_change}: {names}"
            )

    def _report(self, reasons: Mapping[Path, str], num_files: int) -> None:
        """Raise an error for unreadable files, or warn about them."""
        named = [f"{file} ({reason})" for file, reason in reasons.items()]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        message = f"{len(named)} of {num_files} files that cannot be read: {', '.join(named[:_NAMED])}{more}"
        if self.unreadable == "stop":
            raise ValueError(
                f"ImageFolder: got {message}; repair or remove them, or skip them with --data.unreadable skip"
            )
        rank_zero_warn(f"leaving out {message}", category=UserWarning)

    def _check(self, name: str, value: object, fine: bool, expected: str) -> None:
        if not fine:
            raise ValueError(f"{type(self).__name__}: got {name}={value}, expected {expected}")


def _subfolders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)))


def _runs(sizes: Sequence[Size], batch_size: int) -> Iterator[list[int]]:
    """Yield batches of consecutive images of one size."""
    for _, group in groupby(range(len(sizes)), key=sizes.__getitem__):
        run = list(group)
        yield from (run[first : first + batch_size] for first in range(0, len(run), batch_size))
