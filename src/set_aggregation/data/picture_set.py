"""Picture files, decoded batch by batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from set_aggregation.data.image_files import read_images
from set_aggregation.data.image_set import Size


class PictureSet(Dataset[tuple[Tensor, ...]]):
    """Picture files, each with the size to which it is resized and, if there are any, labels.

    Args:
        files: the picture files.
        sizes: height and width of each.
        in_channels: 3 for colour, 1 for grey.
        labels: their labels.
    """

    def __init__(
        self,
        files: Sequence[Path],
        sizes: NDArray[np.int64],
        in_channels: int,
        labels: Int[Tensor, "N"] | None = None,
    ) -> None:
        self.files = files
        self.sizes = sizes
        self.in_channels = in_channels
        self.labels = labels
        self.image_sizes: list[Size] = [(h, w) for h, w in np.unique(sizes, axis=0).tolist()]

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.files)

    def __getitem__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """Decodes a batch of pictures of one size."""
        h, w = self.sizes[indices[0]].tolist()
        images = read_images([self.files[index] for index in indices], self.in_channels, (h, w))
        return (images,) if self.labels is None else (images, self.labels[indices])
