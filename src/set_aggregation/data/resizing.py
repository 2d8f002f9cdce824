"""Images of one data set at several sizes: resizing, and drawing the size of each training image."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from set_aggregation.data.batch_sampler import ResolutionBatchSampler
from set_aggregation.data.image_set import Size

_IMAGES_AT_ONCE = 1000  # bounds the memory of the floating-point copy


def resize(images: UInt8[Tensor, "N C H W"], size: Size, antialias: bool = True) -> UInt8[Tensor, "N C h w"]:
    """Resize images by bicubic interpolation, computed in floating point, rounded and clamped to 0 ... 255.

    Example:
        >>> resize(torch.full((1, 1, 2, 2), 7, dtype=torch.uint8), (1, 3)).tolist()
        [[[[7, 7, 7]]]]
    """
    if images.shape[2:] == size:
        return images
    result = torch.empty((*images.shape[:2], *size), dtype=torch.uint8)
    for part, resized in zip(torch.split(images, _IMAGES_AT_ONCE), torch.split(result, _IMAGES_AT_ONCE), strict=True):
        smooth = F.interpolate(part.float(), size, mode="bicubic", antialias=antialias)
        resized.copy_(smooth.round_().clamp_(0, 255))
    return result


def draw_sizes(num_images: int, num_sizes: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the indices of the images that have each size: a random partition into parts of equal length."""
    return np.split(_shuffled(num_images, seed, 0), _ends(num_images, num_sizes)[:-1])


class ResamplingBatchSampler(ResolutionBatchSampler):
    """Batch sampler that draws new sizes for the images in each epoch.

    Every image is in memory at every size. The base class samples slots, a fixed number for each size; the images in
    the slots change with the epoch.

    Args:
        sizes: the sizes in memory.
        num_images: number of images at each size.
        size_seed: seed of the draw.
        **arguments: see :class:`~set_aggregation.data.ResolutionBatchSampler`.
    """

    def __init__(self, sizes: Sequence[Size], num_images: int, size_seed: int, **arguments: Any) -> None:
        self._slot_ends = _ends(num_images, len(sizes))
        super().__init__(np.repeat(np.array(sizes), np.diff(self._slot_ends, prepend=0), axis=0), **arguments)
        self.size_seed = size_seed

    def __iter__(self) -> Iterator[list[int]]:
        images = self._images()
        for slots in super().__iter__():
            yield self._in_slots(images, slots)

    def batch_of_step(self, step: int) -> list[int]:
        """Return the indices of a batch of this rank in the current epoch."""
        return self._in_slots(self._images(), super().batch_of_step(step))

    def _images(self) -> NDArray[np.int64]:
        """Return the image in each slot in the current epoch."""
        return _shuffled(int(self._slot_ends[-1]), self.size_seed, self.epoch)

    def _in_slots(self, images: NDArray[np.int64], slots: list[int]) -> list[int]:
        size = int(np.searchsorted(self._slot_ends, slots[0], side="right"))
        return (size * len(images) + images[slots]).tolist()


def _shuffled(num: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(num)


def _ends(num: int, num_sizes: int) -> NDArray[np.int64]:
    """Return the end of the slots of each size; the sizes have equally many slots, up to one."""
    return np.arange(1, num_sizes + 1) * num // num_sizes
