"""Data set of image files, decoded batch by batch."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from set_aggregation.data.image_files import read_image, read_images, upright_size
from set_aggregation.data.image_set import Size


class FileSet(Dataset[tuple[Tensor, Tensor]]):
    """Image files with labels and the size (height, width) to which each is resized.

    ``white`` is the value of white in images of more than 8 bits that do not state it.
    """

    def __init__(
        self,
        files: Sequence[Path],
        sizes: NDArray[np.int64],
        in_channels: int,
        labels: Int[Tensor, "N"],
        white: float | None = None,
    ) -> None:
        self.files = files
        self.sizes = sizes
        self.in_channels = in_channels
        self.labels = labels
        self.white = white
        self.image_sizes: list[Size] = [(h, w) for h, w in np.unique(sizes, axis=0).tolist()]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Decode a batch of images of one size."""
        h, w = self.sizes[indices[0]].tolist()
        images = read_images([self.files[index] for index in indices], self.in_channels, (h, w), self.white)
        return images, self.labels[indices]


def sizes_of_files(files: Sequence[Path], decode: bool = False) -> dict[Path, Size | str]:
    """Return the upright size of each readable image file, and the reason for each unreadable one.

    The headers are read in threads. A damaged body is found only with ``decode``.
    """

    def measure(file: Path) -> Size | str:
        try:
            return read_image(file, in_channels=3).shape[:2] if decode else upright_size(file)
        except ValueError as error:
            return str(error.__cause__)

    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:  # Pillow releases Python's lock
        return dict(zip(files, pool.map(measure, files), strict=True))
