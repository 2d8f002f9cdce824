"""A person's own pictures: a folder per class, files of any size."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader

from set_aggregation.data.base import ImageDataModule
from set_aggregation.data.image_files import find_images, shrink, upright_size
from set_aggregation.data.image_set import Size
from set_aggregation.data.picture_set import PictureSet
from set_aggregation.data.picture_sizes import Pictures, picture_sizes
from set_aggregation.data.size_buckets import TooNarrowError, choose_buckets

_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_NAMED = 10  # so many unreadable files are named in a message


class ImageFolder(ImageDataModule):
    """Pictures in a folder per class, as ``torchvision.datasets.ImageFolder`` has them, but of any size.

    Every picture is resized to one of a handful of sizes, which are chosen from the data so that its aspect ratio
    changes little and it is hardly enlarged (see :func:`~set_aggregation.data.size_buckets.choose_buckets`, which
    states the bounds); a batch has pictures of one size. Worker processes decode them.

    ``root`` holds the class folders, or folders ``train`` and ``val`` (or ``valid``, ``validation``) or ``test`` or
    both that hold them. What is not there is held out of the training pictures, of each class the same fraction.
    Files below a class folder count at any depth, if Pillow reads files with their suffix.

    The first start decodes every file to find its size and whether it can be read; later starts look only at files
    that have changed.

    Args:
        root: the folder.
        batch_size: pictures of a batch on one rank.
        max_pixels_per_batch: in place of ``batch_size``, as many pictures as have so many pixels together.
        max_side: pictures are shrunk until neither side is longer.
        num_buckets: how many different sizes to have.
        max_aspect_change: factor by which the aspect ratio of a picture may change.
        max_enlargement: factor by which a side of a picture may grow.
        val_fraction: share of the pictures held out for validation.
        test_fraction: share of the pictures held out for the test.
        split_seed: seed of the split, apart from the seed of the run.
        in_channels: 3 for colour, 1 for grey.
        unreadable: ``"stop"`` with an error that names the files that cannot be read, or ``"skip"`` them with a
            warning that does.
        num_workers: worker processes on one rank; None takes as many as there are processors to share.
        normalize: subtract ImageNet's mean and divide by its standard deviation.
        augment: random crop and flip of the training pictures.

    Raises:
        ValueError: no folder of classes, a class without pictures, unreadable files, or an argument out of its range.
    """

    image_size = None
    max_side: int
    flip = True

    def __init__(
        self,
        root: Path,
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
        num_workers: int | None = None,
        normalize: bool = True,
        augment: bool = False,
    ) -> None:
        super().__init__(batch_size, max_pixels_per_batch, normalize, augment)
        self._at_least(1, max_side=max_side, num_buckets=num_buckets)
        self._check("max_aspect_change", max_aspect_change, max_aspect_change > 1, "more than 1")
        self._check("max_enlargement", max_enlargement, max_enlargement >= 1, "at least 1")
        self._check("val_fraction", val_fraction, 0 < val_fraction < 1, "between 0 and 1")
        self._check("test_fraction", test_fraction, 0 < test_fraction < 1 - val_fraction, "less than the rest")
        self._check("split_seed", split_seed, split_seed >= 0, "at least 0")
        self._check("num_workers", num_workers, num_workers is None or num_workers >= 0, "at least 0")
        self._check("in_channels", in_channels, in_channels in (1, 3), "1 or 3")
        self._check("unreadable", unreadable, unreadable in ("stop", "skip"), "'stop' or 'skip'")
        self.root = Path(root).expanduser()
        self._folders = _part_folders(self.root)
        self.class_names = _subfolders(self._folders["train"])
        self.num_classes = len(self.class_names)
        self._check("root", root, self.num_classes >= 2, "a folder with a folder of pictures for each class")
        for folder in self._folders.values():
            unknown = set(_subfolders(folder)) - set(self.class_names)
            self._check(
                "root", root, not unknown, f"the class folders of train in {folder.name} too, not {sorted(unknown)}"
            )
        self.max_side = max_side
        self.num_buckets = num_buckets
        self.max_aspect_change = max_aspect_change
        self.max_enlargement = max_enlargement
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.in_channels = in_channels
        self.unreadable = unreadable
        self.num_workers = num_workers
        # Of ImageNet's photographs; for grey the mean over the channels.
        self.mean = (0.485, 0.456, 0.406) if in_channels == 3 else (0.449,)
        self.std = (0.229, 0.224, 0.225) if in_channels == 3 else (0.226,)

    def prepare_data(self) -> None:
        """Looks at the files that are new, once on each machine."""
        self._look()

    def setup(self, stage: str) -> None:
        """Splits the pictures and chooses their sizes."""
        if stage == "predict" or self._sets:
            return
        pictures = self._look()
        if pictures.unreadable:
            self._report(pictures)
        parts = self._split(pictures.sizes)
        bounds = self.max_side, self.num_buckets, self.max_aspect_change, self.max_enlargement
        own_sizes = {file: pictures.sizes[file] for part in parts.values() for file, _ in part}
        try:
            sizes = choose_buckets(np.array(list(own_sizes.values())), *bounds)
        except TooNarrowError as error:
            file = next(file for file, size in own_sizes.items() if size == error.size)
            raise ValueError(f"{type(self).__name__}: got {file}; {error}") from error
        for part, pairs in parts.items():
            files, labels = zip(*pairs, strict=True)
            self._sets[part] = PictureSet(files, sizes[: len(files)], self.in_channels, torch.tensor(labels))
            sizes = sizes[len(files) :]
        self._check_batches()

    def predict_dataloader(self) -> DataLoader[Any]:
        """Batches of the pictures in ``predict_files``, in their order and without labels, at their own sizes."""
        sizes = [shrink(upright_size(file), self.max_side) for file in self.predict_files]
        pictures = PictureSet(self.predict_files, np.array(sizes), self.in_channels)
        return self._loader(pictures, list(_runs(sizes, self.batch_size)))

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

    def _look(self) -> Pictures:
        folders = [folder / name for folder in self._folders.values() for name in self.class_names]
        files = find_images([folder for folder in folders if folder.is_dir()])
        # Hidden files are copies and notes that programs leave, such as .ipynb_checkpoints/a-checkpoint.png.
        return picture_sizes(self.root, [file for file in files if "/." not in file.relative_to(self.root).as_posix()])

    def _split(self, files: Iterable[Path]) -> dict[str, list[tuple[Path, int]]]:
        """The pictures of each part, with their classes."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        found: dict[tuple[str, int], list[tuple[Path, int]]] = {}
        for file in files:
            part = next(part for part, folder in self._folders.items() if file.is_relative_to(folder))
            number = numbers[file.relative_to(self._folders[part]).parts[0]]
            found.setdefault((part, number), []).append((file, number))
        parts: dict[str, list[tuple[Path, int]]] = {part: [] for part in _FOLDERS}
        held_out = {"val": self.val_fraction, "test": self.test_fraction}
        rng = np.random.default_rng(self.split_seed)
        for name, number in numbers.items():
            pictures = found.get(("train", number), [])
            rest = [pictures[i] for i in rng.permutation(len(pictures))]
            for part, fraction in held_out.items():
                num = 0 if part in self._folders else round(fraction * len(pictures))
                parts[part] += found.get((part, number), []) + rest[:num]
                rest = rest[num:]
            self._check("root", self.root, bool(rest), f"pictures to train on in the folder of each class, also {name}")
            parts["train"] += rest
        for part, fraction in held_out.items():
            if part in self._folders:
                self._check("root", self.root, bool(parts[part]), f"pictures in {self._folders[part]}")
            self._check(f"{part}_fraction", fraction, bool(parts[part]), "so many that a picture is left for it")
        return parts

    def _report(self, pictures: Pictures) -> None:
        """Stops because of files that cannot be read, or warns of them."""
        reasons = [f"{file} ({reason})" for file, reason in pictures.unreadable.items()]
        more = f" and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
        num = len(reasons) + len(pictures.sizes)
        message = f"{len(reasons)} of {num} files that cannot be read: {', '.join(reasons[:_NAMED])}{more}"
        if self.unreadable == "stop":
            raise ValueError(
                f"{type(self).__name__}: got {message}; mend or remove them, or leave them out with "
                "--data.unreadable skip"
            )
        rank_zero_warn(f"leaving out {message}", category=UserWarning)

    def _check(self, name: str, value: object, fine: bool, expected: str) -> None:
        if not fine:
            raise ValueError(f"{type(self).__name__}: got {name}={value}, expected {expected}")


def _part_folders(root: Path) -> dict[str, Path]:
    """Where the class folders of each part lie: below ``train``, ``val`` and ``test``, or all below ``root``."""
    found = {part: root / name for part, names in _FOLDERS.items() for name in names if (root / name).is_dir()}
    return found if "train" in found and len(found) > 1 else {"train": root}


def _subfolders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _runs(sizes: Sequence[Size], batch_size: int) -> Iterator[list[int]]:
    """Batches of neighbours of one size."""
    for _, group in groupby(range(len(sizes)), key=sizes.__getitem__):
        run = list(group)
        yield from (run[first : first + batch_size] for first in range(0, len(run), batch_size))
