"""Images of one data set at several sizes: resizing, and drawing the size of each training image."""

from collections.abc import Sequence
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
    """Batch sampler that draws new sizes in each epoch for images that are in memory at every size.

    Args:
        sizes: the sizes in memory, ascending.
        num_images: number of images at each size.
        size_seed: seed of the draw.
        **arguments: see :class:`~set_aggregation.data.ResolutionBatchSampler`.
    """

    def __init__(self, sizes: Sequence[Size], num_images: int, size_seed: int, **arguments: Any) -> None:
        self.size_seed = size_seed
        self._slots = np.repeat(np.arange(len(sizes)), np.diff(_ends(num_images, len(sizes)), prepend=0))
        super().__init__(np.array(sizes)[self._slots], **arguments)

    def _draw(self, seed: int, epoch: int) -> tuple[int, ...]:
        """Draw an image for each slot, of which each size has a fixed number."""
        num_images = len(self._slots)
        self._by_size = self._slots * num_images + _shuffled(num_images, self.size_seed, epoch)
        return super()._draw(seed, epoch)


def _shuffled(num: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(num)


def _ends(num: int, num_sizes: int) -> NDArray[np.int64]:
    """Return the end of the slots of each size; the sizes have equally many slots, up to one."""
    return np.arange(1, num_sizes + 1) * num // num_sizes
