"""Data set of image files, decoded batch by batch."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from set_aggregation.data.image_files import read_image, read_images, upright_size
from set_aggregation.data.image_set import Size


class FileSet(Dataset[tuple[Tensor, ...]]):
    """Image files with the size to which each is resized and, optionally, labels.

    Args:
        files: the image files.
        sizes: height and width of each after resizing.
        in_channels: 3 for colour, 1 for grey.
        labels: their labels.
        white: the value of white in images of more than 8 bits that do not state it.

    Attributes:
        image_sizes: the different sizes.
    """

    def __init__(
        self,
        files: Sequence[Path],
        sizes: NDArray[np.int64],
        in_channels: int,
        labels: Int[Tensor, "N"] | None = None,
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

    def __getitem__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """Decode a batch of images of one size."""
        h, w = self.sizes[indices[0]].tolist()
        images = read_images([self.files[index] for index in indices], self.in_channels, (h, w), self.white)
        return (images,) if self.labels is None else (images, self.labels[indices])


def sizes_of_files(files: Sequence[Path], decode: bool = False) -> tuple[dict[Path, Size], dict[Path, str]]:
    """Return the upright size of each readable image file, and the reason for each unreadable one.

    The headers are read in threads. A damaged body is found only with ``decode``.
    """
    measure = _decoded_size if decode else upright_size
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:  # Pillow releases Python's lock
        results = list(pool.map(lambda file: _attempt(measure, file), files))
    sizes = {file: result for file, result in zip(files, results, strict=True) if not isinstance(result, str)}
    return sizes, {file: result for file, result in zip(files, results, strict=True) if isinstance(result, str)}


def _attempt(measure: Callable[[Path], Size], file: Path) -> Size | str:
    try:
        return measure(file)
    except ValueError as error:
        return str(error.__cause__)


def _decoded_size(file: Path) -> Size:
    h, w, _ = read_image(file, in_channels=3).shape
    return h, w
