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


def draw_sizes(num_images: int, num_sizes: int, seed: int, epoch: int = 0) -> list[NDArray[np.int64]]:
    """Return the indices of the images that have each size: a random partition into parts of equal length."""
    order = np.random.default_rng((seed, epoch)).permutation(num_images)
    return np.split(order, np.arange(1, num_sizes) * num_images // num_sizes)


class ResamplingBatchSampler(ResolutionBatchSampler):
    """Batch sampler that draws new sizes in each epoch for images that are in memory at every size.

    Args:
        sizes: the sizes in memory, ascending.
        num_images: number of images at each size.
        size_seed: seed of the draw.
        **arguments: see :class:`~set_aggregation.data.ResolutionBatchSampler`.
    """

    def __init__(self, sizes: Sequence[Size], num_images: int, size_seed: int, **arguments: Any) -> None:
        self.num_images = num_images
        self.size_seed = size_seed
        lengths = map(len, draw_sizes(num_images, len(sizes), size_seed))  # the same in each epoch
        super().__init__(np.repeat(np.array(sizes), list(lengths), axis=0), **arguments)

    def _draw(self, seed: int, epoch: int) -> tuple[int, ...]:
        parts = draw_sizes(self.num_images, len(self.sizes), self.size_seed, epoch)
        self._by_size = np.concatenate([size * self.num_images + part for size, part in enumerate(parts)])
        return tuple(map(len, parts))
