"""Data sets that fit into memory, at one size or several."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from jaxtyping import Int, UInt8
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from set_aggregation.data.base import ImageDataModule
from set_aggregation.data.batch_sampler import ResolutionBatchSampler
from set_aggregation.data.image_set import ImageSet, Size, SizeSampler, resize
from set_aggregation.data.splits import read_indices

Split = Literal["official", "paper"]
Sizes = Sequence[int | tuple[int, int]]


class InMemoryImages(ImageDataModule):
    """Labelled images in memory, split into a training, a validation and a test set, at one size or several.

    A batch is one indexing of the whole array, without worker processes. The images move to the accelerator when
    training or evaluation begins if they take at most half of its free memory; otherwise each batch is copied while the
    previous one is processed.

    With ``sizes`` the images are resized once, as in Section 4.2 of `Maziarka et al. (2018)
    <https://arxiv.org/abs/1810.01868>`_: each training image has one size, drawn at random, equally many images each
    size; all images of a batch have one size. Validation and test set have every image at every size, so that
    ``test/accuracy/16x16`` is the accuracy of the whole split at 16x16 and ``test/accuracy`` the mean over the sizes.

    A subclass describes its images in class attributes and loads them in :meth:`load`.

    Args:
        val_size: images held out for validation.
        num_train: number of training images; None takes all.
        split: ``"official"`` tests on the published test set and holds validation images out of the published
            training set; ``"paper"`` shuffles both together and also holds out ``test_size`` images for the test.
        split_seed: seed of the split, independent of the seed of the run.
        test_size: test images of the ``"paper"`` split; None takes the default of the class.
        split_file: JSON file of your own split, ``{"train": [0, 5, ...], "val": [...], "test": [...]}``: indices
            of the images in the order of :meth:`load`. It overrides the arguments above.
        sizes: sizes of the validation and test images, each a side or (height, width); they need not be trained on.
            None keeps the size of the data.
        train_sizes: sizes of the training images: ``"all"`` of ``sizes``, the ``"original"`` only, or a list.
        resample: draw new sizes for the training images in each epoch. All images are then in memory at all sizes.
        size_seed: seed of the draw, independent of the seed of the run.
        antialias: whether to average over more pixels when images shrink.
        **arguments: see :class:`~set_aggregation.data.ImageDataModule`.

    Raises:
        ValueError: an argument out of its range, or (in ``setup``) more images than there are or than fit into memory.
    """

    image_size: Size
    test_size: int
    parts: dict[str, ImageSet]  # type: ignore[assignment]

    def __init__(
        self,
        val_size: int = 5000,
        num_train: int | None = None,
        split: Split = "official",
        split_seed: int = 0,
        test_size: int | None = None,
        split_file: Path | None = None,
        sizes: Sizes | None = None,
        train_sizes: Literal["all", "original"] | Sizes = "all",
        resample: bool = False,
        size_seed: int = 0,
        antialias: bool = True,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._at_least(1, val_size=val_size, num_train=num_train, test_size=test_size)
        self._at_least(0, split_seed=split_seed, size_seed=size_seed)
        self._check(split in ("official", "paper"), f"{split=}", "'official' or 'paper'")
        if test_size is not None:
            expected = "the published test set; leave it out, or use split='paper'"
            self._check(split == "paper", f"{test_size=} with {split=}", expected)
            self.test_size = test_size
        self.val_size = val_size
        self.num_train = num_train
        self.split = split
        self.split_seed = split_seed
        self.split_file = None if split_file is None else Path(split_file).expanduser()
        self.sizes = [self.image_size] if sizes is None else self._pairs("sizes", sizes)
        named = {"all": self.sizes, "original": [self.image_size]}
        self.train_sizes = named.get(str(train_sizes)) or self._pairs("train_sizes", train_sizes)
        self.is_resized = sizes is not None or str(train_sizes) not in named
        self._check(self.is_resized or not resample, f"{resample=} without sizes", "sizes to draw from")
        self.resample = resample
        self.size_seed = size_seed
        self.antialias = antialias
        self._stays_on_cpu = False

    @abstractmethod
    def load(self) -> tuple[UInt8[Tensor, "N C H W"], Int[Tensor, "N"], int]:
        """Return all images and labels, the published test set last, and the number of published test images."""

    def load_parts(self, names: Sequence[str]) -> dict[str, ImageSet]:
        """Load, split and resize the images."""
        images, labels, num_official_test = self.load()
        split = self._split(len(images), num_official_test)
        parts = {part: self._at_sizes(part, split[part]) for part in names}
        pixels = sum(h * w * len(rows) for at_sizes in parts.values() for (h, w), rows in at_sizes)
        self._check_memory(pixels * self.in_channels)
        return {
            part: ImageSet(
                [resize(images[rows], size, self.antialias) for size, rows in at_sizes],
                [labels[rows] for _, rows in at_sizes],
            )
            for part, at_sizes in parts.items()
        }

    @property
    def title(self) -> str:
        """Name of the data, with the number of sizes: accuracies at different sizes are not comparable."""
        name = type(self).__name__
        num = len(self.sizes)
        return f"{name} at {num} {'size' if num == 1 else 'sizes'}" if self.is_resized else name

    @property
    def images_per_epoch(self) -> int:
        """The number of images in an epoch of training, each at one size."""
        return super().images_per_epoch // (len(self.train_sizes) if self.resample else 1)

    def _pairs(self, name: str, sizes: Sizes | str) -> list[Size]:
        given = [] if isinstance(sizes, str) else sizes
        pairs: list[Any] = [tuple(size) if isinstance(size, list | tuple) else (size, size) for size in given]
        whole = all(isinstance(side, int) and side > 0 for pair in pairs for side in pair)
        fine = whole and {len(pair) for pair in pairs} == {2} and len(set(pairs)) == len(pairs)
        self._check(fine, f"{name}={sizes!r}", "different sizes, each a side or (height, width) in pixels")
        return sorted(pairs)

    def _at_sizes(self, part: str, rows: NDArray[np.int64]) -> list[tuple[Size, Tensor]]:
        """Return which images of a part are in memory at each size."""
        sizes = self.train_sizes if part == "train" else self.sizes
        chosen = [rows] * len(sizes)
        if part == "train" and self.is_resized and not self.resample:
            chosen = [rows[drawn] for drawn in SizeSampler(len(rows), len(sizes), self.size_seed).draw()]
        return [(size, torch.from_numpy(each)) for size, each in zip(sizes, chosen, strict=True)]

    def _check_memory(self, needed: int) -> None:
        """Refuse images that do not fit into memory before resizing them."""
        if self.trainer is not None:
            if self.trainer.local_rank > 0:
                return  # the first rank of a machine checks for all of them, before any begins
            needed *= self.trainer.num_devices
        available = available_memory()
        expected = f"at most the {available / 1e9:,.1f} GB that are free; use fewer images or fewer or smaller sizes"
        self._check(needed <= available, f"images that take {needed / 1e9:,.1f} GB of memory", expected)

    def _training_sampler(self, seed: int, sampler: Iterable[int] | None = None) -> ResolutionBatchSampler:
        if self.resample:
            sampler = SizeSampler(self.images_per_epoch, len(self.train_sizes), self.size_seed)
        return super()._training_sampler(seed, sampler)

    def _loader(self, images: Any, sampler: Sampler[list[int]], **options: Any) -> DataLoader[Any]:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        elsewhere = [part for part in self.parts.values() if part.device != device]
        if elsewhere and device.type != "cpu" and not self._stays_on_cpu:
            needed, free = sum(part.num_bytes for part in elsewhere), free_memory(device)
            self._stays_on_cpu = needed > free // 2
            where = "stay in main memory; each batch is copied" if self._stays_on_cpu else f"move to {device}"
            rank_zero_info(f"{needed / 1e6:,.0f} MB of images, {free / 1e6:,.0f} MB free on {device}: they {where}.")
            for part in [] if self._stays_on_cpu else elsewhere:
                part.move_to(device)
        # A batch in pinned memory is copied while the program and the accelerator continue.
        pins = device.type == "cuda" and any(part.device.type == "cpu" for part in self.parts.values())
        return super()._loader(images, sampler, pin_memory=pins, **options)

    def _split(self, num: int, num_official_test: int) -> dict[str, NDArray[np.int64]]:
        """Return the indices of the images of each part."""
        if self.split_file is not None:
            return read_indices(self.split_file, num)
        order = np.random.default_rng(self.split_seed).permutation(num)
        if self.split == "paper":
            self._check(self.test_size < num, f"test_size={self.test_size}", f"fewer than the {num} images")
            test, rest = order[: self.test_size], order[self.test_size :]
        else:
            first_test = num - num_official_test
            test, rest = np.arange(first_test, num), order[order < first_test]
        val, train = rest[: self.val_size], rest[self.val_size :]
        expected = f"fewer than the {len(rest)} images to split between training and validation"
        self._check(len(train) > 0, f"val_size={self.val_size}", expected)
        self._check((self.num_train or 0) <= len(train), f"num_train={self.num_train}", f"at most {len(train)}")
        return {"train": train[: self.num_train], "val": val, "test": test}


def available_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return the bytes that this process can allocate without swapping or exceeding its container's limit."""
    available: int = psutil.virtual_memory().available
    try:
        return max(0, min(available, int(limit.read_text()) - psutil.Process().memory_info().rss))
    except (OSError, ValueError):  # no cgroup, or no limit ("max")
        return available


def free_memory(device: torch.device) -> int:
    """Return the free bytes of an accelerator, 0 if unknown."""
    try:
        return torch.accelerator.get_memory_info(device)[0]
    except (RuntimeError, ValueError):
        return 0
