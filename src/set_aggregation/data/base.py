"""Images of one size, held in memory and batched by indexing."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from set_aggregation.data.augmentation import random_crop_and_flip
from set_aggregation.data.batches import Batches
from set_aggregation.data.image_files import read_images

Split = Literal["official", "paper"]


class ImageDataModule(LightningDataModule, ABC):
    """Labelled images of one size, split into training, validation and test set.

    The images lie in memory as uint8. A batch is one indexing of the whole array; conversion to [0, 1],
    normalisation and augmentation are done on whole batches on the device, so that there are no worker processes
    and no Python per image.

    A subclass says in class attributes what its images are, and loads them in :meth:`load`.

    Args:
        batch_size: images of a batch on one rank.
        val_size: images held out for validation.
        num_train: take only so many images to train on; None takes all.
        split: ``"official"`` tests on the published test set and holds validation out of the published training
            set; ``"paper"`` shuffles both together and holds out ``test_size`` images for test too.
        split_seed: seed of the split. It is not the seed of the run: runs of several seeds share one split.
        normalize: subtract the mean and divide by the standard deviation of each channel.
        augment: random crop, and flip where it keeps the class, of the training images.

    Attributes:
        num_classes: number K of classes.
        class_names: their names.
        in_channels: number C of channels of an image.
        image_size: its height and width in pixels.
        mean, std: of each channel over the training set, with pixels in [0, 1].
        flip: whether a mirrored image is of the same class.
        test_size: images of the test set of the ``"paper"`` split.
        predict_files: image files that ``predict`` reads.

    Raises:
        ValueError: a size below 1 (when built) or larger than the data (in ``setup``).
    """

    num_classes: ClassVar[int]
    class_names: ClassVar[tuple[str, ...]]
    in_channels: ClassVar[int]
    image_size: ClassVar[tuple[int, int]]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    flip: ClassVar[bool]
    test_size: ClassVar[int]

    def __init__(
        self,
        batch_size: int = 256,
        val_size: int = 5000,
        num_train: int | None = None,
        split: Split = "official",
        split_seed: int = 0,
        normalize: bool = False,
        augment: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("val_size", val_size), ("num_train", num_train)):
            if value is not None and value < 1:
                raise ValueError(f"{type(self).__name__}: got {name}={value}, expected at least 1")
        if split_seed < 0:
            raise ValueError(f"{type(self).__name__}: got split_seed={split_seed}, expected at least 0")
        if split not in ("official", "paper"):
            raise ValueError(f"{type(self).__name__}: got split={split!r}, expected 'official' or 'paper'")
        self.batch_size = batch_size
        self.val_size = val_size
        self.num_train = num_train
        self.split = split
        self.split_seed = split_seed
        self.normalize = normalize
        self.augment = augment
        self.predict_files: Sequence[Path] = ()
        self._sets: dict[str, TensorDataset] = {}

    @abstractmethod
    def load(self) -> tuple[UInt8[Tensor, "N C H W"], Int[Tensor, "N"], int]:
        """Gives all images and labels, the published test set last, and the size of that."""

    def setup(self, stage: str) -> None:
        """Loads and splits the images, once."""
        if stage == "predict" or self._sets:
            return
        images, labels, num_official_test = self.load()
        order = np.random.default_rng(self.split_seed).permutation(len(images))
        if self.split == "paper":
            test, rest = order[: self.test_size], order[self.test_size :]
        else:
            # The published test set in its published order.
            first_test = len(images) - num_official_test
            test, rest = np.arange(first_test, len(images)), order[order < first_test]
        val, train = rest[: self.val_size], rest[self.val_size :]
        name = type(self).__name__
        if not len(train):
            raise ValueError(
                f"{name}: got val_size={self.val_size}, expected fewer than the {len(rest)} images there are to share "
                "between training and validation"
            )
        if self.num_train is not None:
            if self.num_train > len(train):
                raise ValueError(f"{name}: got num_train={self.num_train}, expected at most {len(train)}")
            train = train[: self.num_train]
        if self.batch_size > len(train):
            raise ValueError(
                f"{name}: got batch_size={self.batch_size}, expected at most the {len(train)} training images"
            )
        for part, indices in (("train", train), ("val", val), ("test", test)):
            chosen = torch.from_numpy(indices)
            self._sets[part] = TensorDataset(images[chosen], labels[chosen])

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of the training set, in a new order each epoch."""
        seed = torch.initial_seed()
        if self.trainer is not None:
            seed = self.trainer.strategy.broadcast(seed)  # one plan for all ranks
        return self._loader(self._sets["train"], shuffle=True, seed=seed)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of the validation set."""
        return self._loader(self._sets["val"])

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of the test set."""
        return self._loader(self._sets["test"])

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of the images in ``predict_files``, without labels."""
        return self._loader(TensorDataset(read_images(self.predict_files, self.in_channels, self.image_size)))

    def on_after_batch_transfer(self, batch: list[Tensor], dataloader_idx: int) -> tuple[Tensor, ...]:
        """Augments, converts and normalises a batch on its device."""
        images, *labels = batch
        if self.augment and self.trainer is not None and self.trainer.training:
            images = random_crop_and_flip(images, self.flip)
        return self._to_float(images), *labels

    def _to_float(self, images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        # Convolutions on CPU and on tensor cores are faster in this memory format, and follow their input's.
        x = images.to(torch.float32, memory_format=torch.channels_last) / 255
        if not self.normalize:
            return x
        mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (self.mean, self.std))
        return (x - mean) / std

    def _loader(self, dataset: TensorDataset, shuffle: bool = False, seed: int = 0) -> DataLoader[tuple[Tensor, ...]]:
        rank, num_replicas = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        batches = Batches(len(dataset), self.batch_size, shuffle, seed, rank, num_replicas)
        # batch_size=None: what the sampler gives is a whole batch. Given as `sampler`, so that Lightning's call of
        # set_epoch reaches it.
        return DataLoader(dataset, batch_size=None, sampler=batches)
