"""Data sets whose images come in several sizes."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from set_aggregation.data.batch_sampler import ResolutionBatchSampler
from set_aggregation.data.cifar10 import CIFAR10
from set_aggregation.data.digits import Digits
from set_aggregation.data.fashion_mnist import FashionMNIST
from set_aggregation.data.image_set import ImageSet, Size
from set_aggregation.data.in_memory import InMemoryImages
from set_aggregation.data.resizing import resize


class MultiResolution(InMemoryImages):
    """Mixin that resizes the images of a data set to several sizes (Section 4.2 of `Maziarka et al. (2018)
    <https://arxiv.org/abs/1810.01868>`_).

    Each training image has one size, drawn at random, equally many images each size; a batch has images of one size.
    Validation and test set have all their images at every size, so that ``test/accuracy/16x16`` is that of the whole
    split at 16x16 and ``test/accuracy`` the mean over the sizes.

    All images lie in memory, resized once. Per pixel of a channel that is a byte: with the sizes of the paper and the
    ``"paper"`` split, CIFAR-10 takes 346 MB and Fashion-MNIST 140 MB on each rank; with ``resample``, 1,037 MB and
    445 MB.

    Args:
        sizes: the sizes of the validation and test images, each a side or height and width; they need not have been
            trained on. By default those of the paper.
        train_sizes: the sizes of the training images: ``"all"`` of ``sizes``, the ``"original"`` only, or a list.
        resample: draw the sizes of the training images anew each epoch.
        size_seed: seed of the draw, apart from the seed of the run.
        antialias: see :func:`~set_aggregation.data.resizing.resize`.
        max_pixels_per_batch: in place of ``batch_size``, as many images as have so many pixels together.
        **arguments: those of the data set.

    Attributes:
        default_sizes: the sizes where none are given.

    Raises:
        ValueError: sizes that are none, or more than fits into memory (in ``setup``).
    """

    default_sizes: tuple[int, ...]

    def __init__(
        self,
        sizes: Sequence[int | tuple[int, int]] | None = None,
        train_sizes: Literal["all", "original"] | Sequence[int | tuple[int, int]] = "all",
        resample: bool = False,
        size_seed: int = 0,
        antialias: bool = True,
        max_pixels_per_batch: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._at_least_one(max_pixels_per_batch=max_pixels_per_batch)
        self.max_pixels_per_batch = max_pixels_per_batch
        self.sizes = self._pairs("sizes", self.default_sizes if sizes is None else sizes)
        if train_sizes == "all":
            self.train_sizes = self.sizes
        elif train_sizes == "original":
            self.train_sizes = [self.image_size]
        else:
            self.train_sizes = self._pairs("train_sizes", train_sizes)
        if size_seed < 0:
            raise ValueError(f"{type(self).__name__}: got size_seed={size_seed}, expected at least 0")
        self.resample = resample
        self.size_seed = size_seed
        self.antialias = antialias

    @property
    def images_per_epoch(self) -> int:
        """The number of images that an epoch of training goes through, each at one of the sizes."""
        return super().images_per_epoch // (len(self.train_sizes) if self.resample else 1)

    def _pairs(self, name: str, sizes: Sequence[int | tuple[int, int]] | str) -> list[Size]:
        given = [] if isinstance(sizes, str) else sizes
        pairs: list[Any] = [tuple(size) if isinstance(size, list | tuple) else (size, size) for size in given]
        sides = [side for pair in pairs for side in pair]
        whole = all(isinstance(side, int) and side > 0 for side in sides)
        if not pairs or len(set(pairs)) < len(pairs) or {len(pair) for pair in pairs} != {2} or not whole:
            raise ValueError(
                f"{type(self).__name__}: got {name}={sizes!r}, expected different sizes, each a side or (height, "
                "width) in pixels"
            )
        return sorted(pairs)

    def _num_bytes(self, part: str, num: int) -> int:
        sizes = self.train_sizes if part == "train" else self.sizes
        each_image_once = part == "train" and not self.resample
        return num * self.in_channels * sum(h * w for h, w in sizes) // (len(sizes) if each_image_once else 1)

    def _image_set(self, part: str, images: UInt8[Tensor, "n C H W"], labels: Int[Tensor, "n"]) -> ImageSet:
        sizes = self.train_sizes if part == "train" else self.sizes
        if part == "train" and not self.resample:
            members = np.split(_shuffled(len(images), self.size_seed, 0), _ends(len(images), len(sizes))[:-1])
            chosen = [torch.from_numpy(indices) for indices in members]
            resized = [resize(images[c], size, self.antialias) for c, size in zip(chosen, sizes, strict=True)]
            return ImageSet(resized, [labels[c] for c in chosen])
        return ImageSet([resize(images, size, self.antialias) for size in sizes], [labels] * len(sizes))

    def _training_sampler(self, **arguments: Any) -> ResolutionBatchSampler:
        if not self.resample:
            return super()._training_sampler(**arguments)
        num = len(self._sets["train"]) // len(self.train_sizes)
        return _ResamplingBatchSampler(self.train_sizes, num, self.size_seed, **arguments)


class _ResamplingBatchSampler(ResolutionBatchSampler):
    """Gives each image one of the sizes at which it lies in memory, another one each epoch.

    What the base class samples are places: a fixed number for each size. The images that stand in them change.
    """

    def __init__(self, sizes: Sequence[Size], num_images: int, size_seed: int, **arguments: Any) -> None:
        self._place_ends = _ends(num_images, len(sizes))
        super().__init__(np.repeat(np.array(sizes), np.diff(self._place_ends, prepend=0), axis=0), **arguments)
        self.size_seed = size_seed

    def __iter__(self) -> Iterator[list[int]]:
        images = self._images()
        for places in super().__iter__():
            yield self._in_places(images, places)

    def batch_of_step(self, step: int) -> list[int]:
        """The indices of a batch of this rank in the present epoch."""
        return self._in_places(self._images(), super().batch_of_step(step))

    def _images(self) -> NDArray[np.int64]:
        """The image that stands in each place in the present epoch."""
        return _shuffled(int(self._place_ends[-1]), self.size_seed, self.epoch)

    def _in_places(self, images: NDArray[np.int64], places: list[int]) -> list[int]:
        size = int(np.searchsorted(self._place_ends, places[0], side="right"))
        return (size * len(images) + images[places]).tolist()


def _shuffled(num: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(num)


def _ends(num: int, num_sizes: int) -> NDArray[np.int64]:
    """Where the places of each size end: as equally many as can be."""
    return np.arange(1, num_sizes + 1) * num // num_sizes


class MultiResolutionCIFAR10(MultiResolution, CIFAR10):
    """CIFAR-10 at several sizes; see :class:`MultiResolution` and :class:`CIFAR10` for the arguments."""

    default_sizes = (16, 24, 32, 40, 48)


class MultiResolutionFashionMNIST(MultiResolution, FashionMNIST):
    """Fashion-MNIST at several sizes; see :class:`MultiResolution` and :class:`FashionMNIST` for the arguments."""

    default_sizes = (14, 22, 28, 42, 56)


class MultiResolutionDigits(MultiResolution, Digits):
    """The digits at several sizes; see :class:`MultiResolution` and :class:`Digits` for the arguments."""

    default_sizes = (8, 12, 16, 20, 24)
