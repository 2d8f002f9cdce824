"""Images of one or several sizes, in memory."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

Size = tuple[int, int]


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
        self.image_sizes: list[Size] = [(part.shape[2], part.shape[3]) for part in images]  # of each tensor

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image."""
        return np.repeat(np.array(self.image_sizes), [len(part) for part in self._images], axis=0)

    @property
    def num_bytes(self) -> int:
        """The memory of images and labels."""
        return sum(part.nbytes for part in (*self._images, *self._labels))

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
