"""What all data modules share: batches of images of one size, converted and augmented on the device."""

from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, Subset, TensorDataset

from set_aggregation.data.augmentation import random_crop_and_flip
from set_aggregation.data.batch_sampler import ResolutionBatchSampler
from set_aggregation.data.image_files import read_images
from set_aggregation.data.image_set import Size


class SizedImages(Protocol):
    """A data set of images of which batches of one size are read, and their sizes."""

    image_sizes: list[Size]

    def __len__(self) -> int:
        """The number of images."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image."""

    def __getitem__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """Reads a batch."""


class ImageDataModule(LightningDataModule, ABC):
    """Labelled images in a training, a validation and a test set; all images of a batch have one size.

    Batches hold uint8 images; conversion to [0, 1], normalisation and augmentation are done on whole batches on the
    device.

    A subclass fills ``_sets`` in ``setup``.

    Args:
        batch_size: images of a batch on one rank.
        max_pixels_per_batch: in place of ``batch_size``, as many images as have so many pixels together.
        normalize: subtract the mean and divide by the standard deviation of each channel.
        augment: random crop, and flip where it keeps the class, of the training images.

    Attributes:
        num_classes: number K of classes.
        class_names: their names.
        in_channels: number C of channels of an image.
        image_size: height and width in pixels of the images that ``predict`` reads; None where they keep their own.
        max_side: where they keep their own size, they are shrunk until neither side is longer.
        mean, std: of each channel, with pixels in [0, 1].
        flip: whether a mirrored image is of the same class.
        predict_files: image files that ``predict`` reads.

    Raises:
        ValueError: a size below 1.
    """

    num_classes: int
    class_names: tuple[str, ...]
    in_channels: int
    image_size: Size | None
    max_side: int | None = None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool

    def __init__(
        self, batch_size: int, max_pixels_per_batch: int | None = None, normalize: bool = False, augment: bool = False
    ) -> None:
        super().__init__()
        self._at_least(1, batch_size=batch_size, max_pixels_per_batch=max_pixels_per_batch)
        self.batch_size = batch_size
        self.max_pixels_per_batch = max_pixels_per_batch
        self.normalize = normalize
        self.augment = augment
        self.predict_files: Sequence[Path] = ()
        self._sets: dict[str, SizedImages] = {}
        self._training: ResolutionBatchSampler | None = None
        self._place: dict[str, Any] | None = None
        self._statistics: Tensor | None = None

    @property
    def title(self) -> str:
        """The name of the data in tables of runs: runs of one title can be compared."""
        return type(self).__name__

    @property
    def image_sizes(self) -> dict[str, list[Size]]:
        """The sizes of the images of ``"train"``, ``"val"`` and ``"test"``, as far as they are set up."""
        return {part: images.image_sizes for part, images in self._sets.items()}

    @property
    def image_description(self) -> dict[str, Any]:
        """What a trained model has to know of the images to be used without this data: plain values."""
        return {
            "class_names": list(self.class_names),
            "in_channels": self.in_channels,
            "image_size": self.image_size and list(self.image_size),
            "max_side": self.max_side,
            "mean": list(self.mean) if self.normalize else None,
            "std": list(self.std) if self.normalize else None,
        }

    @property
    def images_per_epoch(self) -> int:
        """The number of images that an epoch of training goes through."""
        return len(self._sets["train"])

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches of an epoch of training on one rank."""
        return len(self._training_sampler(shuffle=True, seed=0, **self._share()))

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the training set, in a new order each epoch."""
        seed = torch.initial_seed()
        if self.trainer is not None:
            seed = self.trainer.strategy.broadcast(seed)  # one plan for all ranks
        self._training = self._training_sampler(shuffle=True, seed=seed, **self._share())
        if self._place is not None:
            self._training.load_state_dict(self._place)
            self._place = None
        return self._loader(self._sets["train"], self._training)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation set."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of the test set."""
        return self.evaluation_dataloader("test")

    def state_dict(self) -> dict[str, Any]:
        """Where in an epoch training is, for the checkpoint."""
        if self.trainer is None or self._training is None:
            return {}
        batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return {"sampler": self._training.state_dict(batches.processed - self._training.num_replanned)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lets the next training set out from there.

        Args:
            state_dict: of data of the same number of images.
        """
        self._place = state_dict["sampler"]

    def evaluation_dataloader(self, part: str, num_images: int | None = None, seed: int = 0) -> DataLoader[Any]:
        """Batches of a part of the data, each image once over all ranks.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``.
            num_images: take only so many images, chosen at random; None takes all.
            seed: of the choice.
        """
        images: Any = self._sets[part]
        sizes = images.sizes
        if num_images is not None and num_images < len(images):
            chosen = np.sort(np.random.default_rng(seed).choice(len(images), num_images, replace=False))
            images, sizes = Subset(images, chosen.tolist()), sizes[chosen]
        return self._loader(images, ResolutionBatchSampler(sizes, shuffle=False, remainder="keep", **self._share()))

    def picture(self, part: str, index: int) -> UInt8[NDArray[np.uint8], "H W C"]:
        """An image as it was read, to be shown.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``.
            index: its number there.
        """
        return self._sets[part][[index]][0][0].permute(1, 2, 0).cpu().numpy()

    def predict_dataloader(self) -> DataLoader[Any]:
        """Batches of the images in ``predict_files``, without labels."""
        assert self.image_size is not None
        images = TensorDataset(read_images(self.predict_files, self.in_channels, self.image_size))
        return DataLoader(images, batch_size=self.batch_size)

    def on_after_batch_transfer(self, batch: list[Tensor], dataloader_idx: int) -> tuple[Tensor, ...]:
        """Augments, converts and normalises a batch on its device."""
        images, *labels = batch
        if self.augment and self.trainer is not None and self.trainer.lightning_module.training:
            images = random_crop_and_flip(images, self.flip)
        return self._to_float(images), *labels

    def _to_float(self, images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        # Convolutions on CPU and on tensor cores are faster in this memory format, and follow their input's. Division
        # and conversion are one pass over the batch.
        like = torch.empty_like(images, dtype=torch.float32, memory_format=torch.channels_last)
        x = torch.div(images, 255, out=like)
        if not self.normalize:
            return x
        if self._statistics is None or self._statistics.device != x.device:  # to copy them is to wait for the device
            self._statistics = torch.tensor([self.mean, self.std])[..., None, None].to(x.device)
        mean, std = self._statistics
        return x.sub_(mean).div_(std)

    def _training_sampler(self, **arguments: Any) -> ResolutionBatchSampler:
        return ResolutionBatchSampler(self._sets["train"].sizes, **arguments)

    def _share(self) -> dict[str, Any]:
        """What a sampler is told of the batches and of the ranks."""
        trainer, pixels = self.trainer, self.max_pixels_per_batch
        return {
            "batch_size": self.batch_size if pixels is None else None,
            "max_pixels_per_batch": pixels,
            "rank": 0 if trainer is None else trainer.global_rank,
            "num_replicas": 1 if trainer is None else trainer.world_size,
        }

    def _check_batches(self) -> None:
        """Refuses, before training, batches that cannot be made."""
        for images in self._sets.values():
            ResolutionBatchSampler(images.sizes, **self._share())

    def _loader(self, images: Any, sampler: Sampler[list[int]]) -> DataLoader[Any]:
        # batch_size=None: what the sampler gives is a whole batch. Given as `sampler`, so that Lightning's call of
        # set_epoch reaches it.
        return DataLoader(images, batch_size=None, sampler=sampler, generator=self._generator())

    def _generator(self) -> torch.Generator:
        """What a loader draws the seeds of its worker processes from: apart, so that reading changes no other draw."""
        return torch.Generator().manual_seed(torch.initial_seed())

    def _at_least(self, minimum: int, **numbers: int | None) -> None:
        for name, value in numbers.items():
            if value is not None and value < minimum:
                raise ValueError(f"{type(self).__name__}: got {name}={value}, expected at least {minimum}")
