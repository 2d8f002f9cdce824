"""Image files of any size: a folder per class, or a folder with a table of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from set_aggregation.data.base import ImageDataModule
from set_aggregation.data.image_files import guess_white, read_images, sizes_of_files
from set_aggregation.data.size_buckets import choose_buckets
from set_aggregation.data.splits import hold_out, read_folders, read_table, some_of
from set_aggregation.data.transforms import imagenet_statistics


@dataclass(eq=False)
class FileSet(Dataset[tuple[Tensor, Tensor]]):
    """Image files with labels and the size (height, width) to which each is resized.

    ``white`` is the value of white in images of more than 8 bits that do not state it.
    """

    files: Sequence[Path]
    sizes: NDArray[np.int64]
    in_channels: int
    labels: Int[Tensor, "N"]
    white: float | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Decode a batch of images of one size."""
        h, w = self.sizes[indices[0]].tolist()
        images = read_images([self.files[index] for index in indices], self.in_channels, (h, w), self.white)
        return images, self.labels[indices]


class ImageFolder(ImageDataModule):
    """Images in a folder per class, as ``torchvision.datasets.ImageFolder`` has them, but of any size.

    Each image is resized to one of a few sizes that :func:`~set_aggregation.data.choose_buckets` chooses from the data.
    A batch has images of one size. Worker processes decode them.

    ``root`` contains the class folders, or the folders ``train``, ``val`` and ``test`` that contain them (or
    ``Training``, ``valid``, ``validation``, ``testing``). A missing part is held out of the training images, the same
    fraction of each class. Files at any depth below a class folder count if Pillow decodes their format.

    ``setup`` reads the headers of all files. A damaged image is an error when it is decoded; with
    ``unreadable="skip"`` all files are decoded in ``setup`` and damaged ones skipped.

    Args:
        root: the folder.
        labels: CSV file of labels with the columns ``file`` (relative to ``root``) and ``label``, and optionally
            ``split`` (train, val or test); None expects one folder for each class.
        batch_size: images in a batch on one rank.
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
        **arguments: see :class:`~set_aggregation.data.ImageDataModule`.

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
        **arguments: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, normalize=normalize, **arguments)
        self._at_least(1, max_side=max_side, num_buckets=num_buckets)
        self._at_least(0, split_seed=split_seed, num_workers=num_workers)
        self._check(max_aspect_change > 1, f"{max_aspect_change=}", "more than 1")
        self._check(max_enlargement >= 1, f"{max_enlargement=}", "at least 1")
        self._check(0 < val_fraction < 1, f"{val_fraction=}", "between 0 and 1")
        self._check(0 < test_fraction < 1 - val_fraction, f"{test_fraction=}", "less than the rest")
        self._check(in_channels in (1, 3), f"{in_channels=}", "1 or 3")
        self._check(unreadable in ("stop", "skip"), f"{unreadable=}", "'stop' or 'skip'")
        self._check(white is None or white > 0, f"{white=}", "more than 0")
        self.root = Path(root).expanduser()
        self._found = read_folders(self.root) if labels is None else read_table(self.root, Path(labels))
        self.class_names = tuple(sorted({name for _, name in self._found["train"]}))
        self.num_classes = len(self.class_names)
        self.max_side = max_side
        self.bounds = num_buckets, max_aspect_change, max_enlargement
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed
        self.in_channels = in_channels
        self.unreadable = unreadable
        self.white = white
        self.num_workers = num_workers
        self.mean, self.std = imagenet_statistics(in_channels)

    def load_parts(self, names: Sequence[str]) -> Mapping[str, FileSet]:
        """Read the headers of the files, split the images and choose their sizes."""
        every = [file for pairs in self._found.values() for file, _ in pairs]
        own_sizes, unreadable = sizes_of_files(every, decode=self.unreadable == "skip")
        if unreadable:
            named = [f"{file} ({reason})" for file, reason in unreadable.items()]
            message = f"{len(named)} of {len(every)} files that cannot be read: {some_of(named)}"
            expected = "images; repair or remove the files, or skip them with --data.unreadable skip"
            self._check(self.unreadable == "skip", message, expected)
            rank_zero_warn(f"leaving out {message}", category=UserWarning)
        readable = {part: [pair for pair in pairs if pair[0] in own_sizes] for part, pairs in self._found.items()}
        parts = hold_out(readable, self.class_names, self.fractions, self.split_seed)
        files = [file for pairs in parts.values() for file, _ in pairs]
        if self.white is None and (white := guess_white(sorted(files))) is not None:
            self.white = white
            rank_zero_warn(
                f"ImageFolder: images of more than 8 bits do not state their range; {white:g} is taken for white in "
                "all of them, guessed from their largest value; set --data.white if it is another"
            )
        own = np.array([own_sizes[file] for file in files])
        _, max_change, _ = self.bounds
        if narrow := np.flatnonzero(own.max(1) > own.min(1) * self.max_side * max_change).tolist():
            named = [f"{files[i]} ({own[i, 0]}x{own[i, 1]})" for i in narrow]
            rank_zero_warn(
                f"ImageFolder: {len(narrow)} images are too narrow for max_side={self.max_side} and change their "
                f"aspect ratio by more than {max_change}: {some_of(named)}"
            )
        sizes = choose_buckets(own, self.max_side, *self.bounds)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        sets = {}
        for part, pairs in parts.items():
            labels = torch.tensor([numbers[name] for _, name in pairs])
            sets[part] = FileSet([file for file, _ in pairs], sizes[: len(pairs)], self.in_channels, labels, self.white)
            sizes = sizes[len(pairs) :]
        return sets

    def _loader(self, images: Any, sampler: Sampler[list[int]], **options: Any) -> DataLoader[Any]:
        num_workers = self.num_workers
        if num_workers is None:
            num_workers = suggested_max_num_workers(1 if self.trainer is None else self.trainer.num_devices)
        options |= {"num_workers": num_workers, "persistent_workers": num_workers > 0}
        return super()._loader(images, sampler, pin_memory=torch.cuda.is_available(), **options)
