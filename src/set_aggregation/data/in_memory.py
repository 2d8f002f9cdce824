"""Data sets that lie in memory as a whole."""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from set_aggregation.data.base import ImageDataModule
from set_aggregation.data.image_set import ImageSet, Size
from set_aggregation.data.memory import available_memory, free_memory

Split = Literal["official", "paper"]
_PARTS = {"fit": ("train", "val", "test"), "validate": ("val",), "test": ("test",), "predict": ()}


class InMemoryImages(ImageDataModule):
    """Labelled images of one size, split into training, validation and test set.

    The images lie in memory as uint8 and a batch is one indexing of the whole array, so that there are no worker
    processes and no Python per image. They move to the accelerator when training or evaluation begins, if they take at
    most half of the memory that is free there then; else each batch goes there while the one before it is worked on.

    A subclass says in class attributes what its images are, and loads them in :meth:`load`.

    Args:
        batch_size: images of a batch on one rank.
        val_size: images held out for validation.
        num_train: take only so many images to train on; None takes all.
        split: ``"official"`` tests on the published test set and holds validation out of the published training
            set; ``"paper"`` shuffles both together and holds out ``test_size`` images for test too.
        split_seed: seed of the split. It is not the seed of the run: runs of several seeds share one split.
        normalize: subtract the mean and divide by the standard deviation of each channel over the training set.
        augment: random crop, and flip where it keeps the class, of the training images.
        test_size: images of the test set of the ``"paper"`` split; None takes as many as the class says.

    Attributes:
        image_size: height and width of the images in pixels.

    Raises:
        ValueError: a size below 1 or ``test_size`` of the published test set (when built), or a size larger than the
            data (in ``setup``).
    """

    image_size: Size
    test_size: int

    def __init__(
        self,
        batch_size: int = 256,
        val_size: int = 5000,
        num_train: int | None = None,
        split: Split = "official",
        split_seed: int = 0,
        normalize: bool = False,
        augment: bool = False,
        test_size: int | None = None,
    ) -> None:
        super().__init__(batch_size, normalize=normalize, augment=augment)
        self._at_least_one(val_size=val_size, num_train=num_train, test_size=test_size)
        if split_seed < 0:
            raise ValueError(f"{type(self).__name__}: got split_seed={split_seed}, expected at least 0")
        if split not in ("official", "paper"):
            raise ValueError(f"{type(self).__name__}: got split={split!r}, expected 'official' or 'paper'")
        self._stays = False  # where the images are, for want of memory elsewhere
        if test_size is not None:
            if split == "official":
                raise ValueError(
                    f"{type(self).__name__}: got test_size={test_size} with split='official', whose test set is the "
                    "published one; leave it out, or use split='paper'"
                )
            self.test_size = test_size
        self.val_size = val_size
        self.num_train = num_train
        self.split = split
        self.split_seed = split_seed

    @abstractmethod
    def load(self) -> tuple[UInt8[Tensor, "N C H W"], Int[Tensor, "N"], int]:
        """Gives all images and labels, the published test set last, and the size of that."""

    def setup(self, stage: str) -> None:
        """Loads and splits the images; each part is made once."""
        missing = [part for part in _PARTS[stage] if part not in self._sets]
        if not missing:
            return
        images, labels, num_official_test = self.load()
        parts = self._split(len(images), num_official_test)
        self._check_memory(sum(self._num_bytes(part, len(parts[part])) for part in missing))
        for part in missing:
            chosen = torch.from_numpy(parts[part])
            self._sets[part] = self._image_set(part, images[chosen], labels[chosen])
        self._check_batches()

    def _num_bytes(self, part: str, num: int) -> int:
        h, w = self.image_size
        return num * self.in_channels * h * w

    def _check_memory(self, needed: int) -> None:
        """Refuses what would not fit, before it is made."""
        if self.trainer is not None:
            if self.trainer.local_rank > 0:
                return  # the first rank of a machine asks for all of them, when none has begun
            needed *= self.trainer.num_devices
        if needed > (available := available_memory()):
            raise ValueError(
                f"{type(self).__name__}: got images that take {needed / 1e9:,.1f} GB of memory, expected at most the "
                f"{available / 1e9:,.1f} GB that are free; use fewer (num_train), smaller or fewer sizes of them"
            )

    def _image_set(self, part: str, images: UInt8[Tensor, "n C H W"], labels: Int[Tensor, "n"]) -> ImageSet:
        return ImageSet([images], [labels])

    @property
    def is_on_accelerator(self) -> bool:
        """Whether all images have moved to an accelerator."""
        return bool(self._sets) and all(images.device.type != "cpu" for images in self._image_sets)

    @property
    def _image_sets(self) -> list[ImageSet]:
        return [images for images in self._sets.values() if isinstance(images, ImageSet)]

    def _loader(self, images: Any, sampler: Sampler[list[int]]) -> DataLoader[Any]:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if device.type != "cpu":
            self._move_to(device)
        loader = super()._loader(images, sampler)
        # From memory that is pinned, a batch is copied while the program and the accelerator go on.
        loader.pin_memory = device.type == "cuda" and not self.is_on_accelerator
        return loader

    def _move_to(self, device: torch.device) -> None:
        """Moves the images to an accelerator, if they fit."""
        images = [part for part in self._image_sets if part.device != device]
        if not images or self._stays:
            return
        needed, free = sum(part.num_bytes for part in images), free_memory(device)
        words = f"{needed / 1e6:,.0f} MB of images, and {free / 1e6:,.0f} MB free on {device}"
        self._stays = needed > free // 2
        if self._stays:
            rank_zero_info(f"{words}: they stay where they are, and batches go there one by one.")
            return
        rank_zero_info(f"{words}: they lie there.")
        for part in images:
            part.move_to(device)

    def _split(self, num: int, num_official_test: int) -> dict[str, NDArray[np.int64]]:
        """Which images each part is made of."""
        name = type(self).__name__
        order = np.random.default_rng(self.split_seed).permutation(num)
        if self.split == "paper":
            if self.test_size >= num:
                raise ValueError(f"{name}: got test_size={self.test_size}, expected fewer than the {num} images")
            test, rest = order[: self.test_size], order[self.test_size :]
        else:
            # The published test set in its published order.
            first_test = num - num_official_test
            test, rest = np.arange(first_test, num), order[order < first_test]
        val, train = rest[: self.val_size], rest[self.val_size :]
        if not len(train):
            raise ValueError(
                f"{name}: got val_size={self.val_size}, expected fewer than the {len(rest)} images there are to share "
                "between training and validation"
            )
        if self.num_train is not None:
            if self.num_train > len(train):
                raise ValueError(f"{name}: got num_train={self.num_train}, expected at most {len(train)}")
            train = train[: self.num_train]
        if self.max_pixels_per_batch is None and self.batch_size > len(train):
            raise ValueError(
                f"{name}: got batch_size={self.batch_size}, expected at most the {len(train)} training images"
            )
        return {"train": train, "val": val, "test": test}
