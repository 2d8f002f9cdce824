"""Base class of the data modules: batches of images of one size, augmented and converted on the device."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, get_args

import numpy as np
import torch
from jaxtyping import UInt8
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, Subset

from set_aggregation.data.batch_sampler import ResolutionBatchSampler
from set_aggregation.data.image_set import Size
from set_aggregation.data.transforms import Mix, build_mix, random_crop_and_flip, to_float

_PARTS = {"fit": ("train", "val", "test"), "validate": ("val",), "test": ("test",), "predict": ()}


class SizedImages(Protocol):
    """A map-style data set of images that reads whole batches of images of one size."""

    def __len__(self) -> int:
        """Return the number of images."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image."""

    def __getitem__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """Return images (B, C, H, W), uint8, and labels (B,) of a batch of one size."""


class ImageDataModule(LightningDataModule, ABC):
    """Labelled images in a training, a validation and a test set; all images of a batch have one size.

    Batches hold uint8 images; augmentation, conversion to [0, 1] and normalisation run on whole batches on the device.

    A subclass sets the class attributes below (or sets them before ``setup``) and implements :meth:`load_parts`.

    Args:
        batch_size: images in a batch on one rank.
        max_pixels_per_batch: number of pixels in a batch, instead of ``batch_size``.
        normalize: subtract the mean and divide by the standard deviation of each channel.
        augment: random crop of the training images, and flip if it keeps the class.
        mix: mix pairs of training images and their labels by mixup, by cutmix, or by one of them for each batch. The
            loss gets shares of the classes (B, K); ``train/accuracy`` counts the class of the larger share.

    Raises:
        ValueError: a size below 1, or an unknown ``mix``.
    """

    num_classes: int
    class_names: tuple[str, ...]
    in_channels: int
    image_size: Size | None
    """Height and width in pixels of the images that a trained model reads; None keeps their size."""
    max_side: int | None = None
    """With ``image_size`` None, images are shrunk until neither side is longer."""
    white: float | None = None
    """Value of white in files of more than 8 bits that do not state it; None takes 65535, 1.0 for floats."""
    mean: tuple[float, ...]
    """Of each channel, with pixels in [0, 1]."""
    std: tuple[float, ...]
    flip: bool
    """Whether a mirrored image has the same class."""

    def __init__(
        self,
        batch_size: int = 256,
        max_pixels_per_batch: int | None = None,
        normalize: bool = False,
        augment: bool = False,
        mix: Mix | None = None,
    ) -> None:
        super().__init__()
        self._check(mix is None or mix in get_args(Mix), f"{mix=}", f"one of {', '.join(get_args(Mix))}")
        self._at_least(1, batch_size=batch_size, max_pixels_per_batch=max_pixels_per_batch)
        self.batch_size = batch_size
        self.max_pixels_per_batch = max_pixels_per_batch
        self.normalize = normalize
        self.augment = augment
        self.mix: Mix | None = mix
        self.parts: dict[str, SizedImages] = {}  # the data sets "train", "val" and "test" that are set up
        self.image_sizes: dict[str, list[Size]] = {}  # the sizes of their images, ascending
        self._training: ResolutionBatchSampler | None = None
        self._sampler_state: dict[str, Any] | None = None
        self._statistics: dict[torch.device, Tensor] = {}  # mean and standard deviation

    @abstractmethod
    def load_parts(self, names: Sequence[str]) -> Mapping[str, SizedImages]:
        """Return at least the named data sets among ``"train"``, ``"val"`` and ``"test"``; see :class:`ImageSet`."""

    def setup(self, stage: str) -> None:
        """Load the parts that a stage needs; each part is loaded once."""
        if missing := [part for part in _PARTS[stage] if part not in self.parts]:
            for part, images in self.load_parts(missing).items():
                sampler = ResolutionBatchSampler(images.sizes, **self._batching())  # refuses impossible batches now
                self.parts[part] = images
                self.image_sizes[part] = [(h, w) for h, w in sampler.sizes.tolist()]

    @property
    def title(self) -> str:
        """Name of the data in tables of runs; accuracies with the same title are comparable."""
        return type(self).__name__

    @property
    def image_description(self) -> dict[str, Any]:
        """Plain values that a trained model and, under ``training``, its card need; stored in checkpoints."""
        return {
            "class_names": list(self.class_names),
            "in_channels": self.in_channels,
            "image_size": self.image_size and list(self.image_size),
            "max_side": self.max_side,
            "white": self.white,
            "mean": list(self.mean) if self.normalize else None,
            "std": list(self.std) if self.normalize else None,
            "training": {
                "data": self.title,
                "num_images": {part: len(images) for part, images in self.parts.items()},
                "image_sizes": {part: [list(size) for size in sizes] for part, sizes in self.image_sizes.items()},
            },
        }

    @property
    def images_per_epoch(self) -> int:
        """The number of images in an epoch of training."""
        return len(self.parts["train"])

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches in an epoch of training on one rank."""
        return len(self._training_sampler(seed=0))

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of the training set, in a new order each epoch."""
        seed = torch.initial_seed()
        if self.trainer is not None:
            seed = self.trainer.strategy.broadcast(seed)  # one plan for all ranks
        self._training = self._training_sampler(seed)
        if self._sampler_state is not None:
            self._training.load_state_dict(self._sampler_state)
            self._sampler_state = None
        return self._loader(self.parts["train"], self._training)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return batches of the validation set."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return batches of the test set."""
        return self.evaluation_dataloader("test")

    def state_dict(self) -> dict[str, Any]:
        """Return the position within the epoch, for the checkpoint."""
        if self.trainer is None or self._training is None:
            return {}
        batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return {"sampler": self._training.state_dict(batches.processed - self._training.num_replanned)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training data loader continue from a position in data with the same number of images."""
        self._sampler_state = state_dict["sampler"]

    def evaluation_dataloader(self, part: str, num_images: int | None = None, seed: int = 0) -> DataLoader[Any]:
        """Return batches of a part of the data or of a random subset of it, each image once over all ranks."""
        images: Any = self.parts[part]
        sizes = images.sizes
        if num_images is not None and num_images < len(images):
            chosen = np.sort(np.random.default_rng(seed).choice(len(images), num_images, replace=False))
            images, sizes = Subset(images, chosen.tolist()), sizes[chosen]
        return self._loader(images, ResolutionBatchSampler(sizes, shuffle=False, remainder="keep", **self._batching()))

    def image(self, part: str, index: int) -> UInt8[NDArray[np.uint8], "H W C"]:
        """Return an image of a part as it was read, to be displayed."""
        return self.parts[part][[index]][0][0].permute(1, 2, 0).cpu().numpy()

    def on_after_batch_transfer(self, batch: list[Tensor], dataloader_idx: int) -> tuple[Tensor, ...]:
        """Augment, convert, normalize and mix a batch on its device."""
        images, *labels = batch
        is_training = self.trainer is not None and self.trainer.lightning_module.training
        if self.augment and is_training:
            images = random_crop_and_flip(images, self.flip)
        if self.normalize and images.device not in self._statistics:  # once: a copy waits for the device
            self._statistics[images.device] = torch.tensor([self.mean, self.std], device=images.device)
        images = to_float(images, *(self._statistics[images.device] if self.normalize else ()))
        if self.mix is not None and is_training:
            return build_mix(self.mix, self.num_classes)(images, *labels)
        return images, *labels

    def _training_sampler(self, seed: int, sampler: Iterable[int] | None = None) -> ResolutionBatchSampler:
        return ResolutionBatchSampler(self.parts["train"].sizes, seed=seed, sampler=sampler, **self._batching())

    def _batching(self) -> dict[str, Any]:
        """Return the arguments of a sampler that concern the size of batches and the ranks."""
        trainer, pixels = self.trainer, self.max_pixels_per_batch
        return {
            "batch_size": self.batch_size if pixels is None else None,
            "max_pixels_per_batch": pixels,
            "rank": 0 if trainer is None else trainer.global_rank,
            "num_replicas": 1 if trainer is None else trainer.world_size,
        }

    def _loader(self, images: Any, sampler: Sampler[list[int]], **options: Any) -> DataLoader[Any]:
        # Seeds worker processes, so that reading images does not change other draws.
        generator = torch.Generator().manual_seed(torch.initial_seed())
        # With batch_size=None each item of the sampler is a whole batch. As `sampler` it gets Lightning's set_epoch.
        return DataLoader(images, batch_size=None, sampler=sampler, generator=generator, **options)

    def _at_least(self, minimum: int, **numbers: int | None) -> None:
        for name, value in numbers.items():
            self._check(value is None or value >= minimum, f"{name}={value}", f"at least {minimum}")

    def _check(self, fine: bool, got: str, expected: str) -> None:
        if not fine:
            raise ValueError(f"{type(self).__name__}: got {got}, expected {expected}")
