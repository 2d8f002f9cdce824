"""Images of one or several sizes in memory: reading batches, resizing, and drawing the size of each training image."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

Size = tuple[int, int]

_IMAGES_AT_ONCE = 1000  # bounds the memory of the floating-point copy


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """Data set of labelled images in memory, one tensor for each size.

    The tensors are numbered one after the other. A batch is one indexing of whole images, in the memory format
    ``channels_last``.

    Args:
        images: the images of each size.
        labels: their labels.

    Example:
        >>> small, large = torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.ones(2, 1, 16, 16, dtype=torch.uint8)
        >>> both = ImageSet([small, large], [torch.tensor([0, 1, 2]), torch.tensor([3, 4])])
        >>> images, labels = both[[4, 3]]
        >>> images.shape, labels
        (torch.Size([2, 1, 16, 16]), tensor([4, 3]))
    """

    def __init__(self, images: Sequence[UInt8[Tensor, "n C h w"]], labels: Sequence[Int[Tensor, "n"]]) -> None:
        self._images = [part.contiguous(memory_format=torch.channels_last) for part in images]
        self._labels = list(labels)
        self._ends = list(accumulate(map(len, images)))
        self.device = self._images[0].device

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image."""
        return np.concatenate([np.full((len(part), 2), part.shape[2:]) for part in self._images])

    @property
    def num_bytes(self) -> int:
        """The memory of images and labels."""
        return sum(part.untyped_storage().nbytes() for part in (*self._images, *self._labels))

    def move_to(self, device: torch.device) -> None:
        """Move images and labels to a device, which then makes the batches."""
        self._images = [part.to(device) for part in self._images]
        self._labels = [part.to(device) for part in self._labels]
        self.device = device

    def __len__(self) -> int:
        """Return the number of images of all sizes."""
        return self._ends[-1]

    def __getitem__(self, indices: Sequence[int]) -> tuple[UInt8[Tensor, "B C h w"], Int[Tensor, "B"]]:
        """Read a batch of images of one size."""
        part = bisect_right(self._ends, indices[0])
        images, labels = self._images[part], self._labels[part]
        start = self._ends[part] - len(images)
        if min(indices) < start or max(indices) >= self._ends[part]:
            raise ValueError("ImageSet: got a batch of images of several sizes, expected images of one size")
        rows = (torch.tensor(indices) - start).to(self.device, non_blocking=True)
        # images[rows] copies pixel by pixel; index_select on this layout copies whole images.
        batch = images.permute(0, 2, 3, 1).index_select(0, rows)  # B h w C
        return batch.permute(0, 3, 1, 2), labels.index_select(0, rows)


def resize(images: UInt8[Tensor, "N C H W"], size: Size, antialias: bool = True) -> UInt8[Tensor, "N C h w"]:
    """Resize images by bicubic interpolation, computed in floating point, rounded and clamped to 0 ... 255."""
    if images.shape[2:] == size:
        return images
    result = torch.empty((*images.shape[:2], *size), dtype=torch.uint8)
    for part, resized in zip(torch.split(images, _IMAGES_AT_ONCE), torch.split(result, _IMAGES_AT_ONCE), strict=True):
        smooth = F.interpolate(part.float(), size, mode="bicubic", antialias=antialias)
        resized.copy_(smooth.round_().clamp_(0, 255))
    return result


class SizeSampler(Sampler[int]):
    """Sampler of images that are in memory at every size: each at one size, drawn anew in each epoch."""

    def __init__(self, num_images: int, num_sizes: int, seed: int) -> None:
        self.num_images, self.num_sizes, self.seed = num_images, num_sizes, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the sizes of an epoch."""
        self.epoch = epoch

    def draw(self) -> list[NDArray[np.int64]]:
        """Return the images that have each size: a random partition into parts of equal length."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_images)
        return np.split(order, np.arange(1, self.num_sizes) * self.num_images // self.num_sizes)

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of the images, those of the first size first."""
        for size, images in enumerate(self.draw()):
            yield from (size * self.num_images + images).tolist()
