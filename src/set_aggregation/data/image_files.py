"""Image files a person gives, as one batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from set_aggregation.data.image_set import Size

_MODES = {1: "L", 3: "RGB"}
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    Image.DecompressionBombError,
)  # as Pillow's plugins have it


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Lists the image files among and below the given paths, sorted within each folder.

    Args:
        paths: files, which are taken as they are, and folders, of which the files with a suffix that Pillow reads
            are taken, at any depth.

    Raises:
        ValueError: a path that is not there, or no image file at all.
    """
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"got {path}, which is not there; expected an image file or a folder of them")
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [file for file in found if file.is_file() and (file == path or file.suffix.lower() in suffixes)]
    if not files:
        raise ValueError(f"got no image file in {', '.join(map(str, paths)) or 'an empty list'}")
    return files


def read_images(files: Sequence[Path], in_channels: int, image_size: Size) -> UInt8[Tensor, "B C H W"]:
    """Decodes image files, converts them to grey or RGB and resizes them (bicubic, antialiased) to one size.

    Args:
        files: any format Pillow reads.
        in_channels: 1 for grey, 3 for RGB.
        image_size: height and width in pixels.

    Raises:
        ValueError: a file that is not a readable image; the file is named.
    """
    return torch.from_numpy(np.stack([read_image(file, in_channels, image_size) for file in files])).permute(0, 3, 1, 2)


def read_image(file: Path, in_channels: int, image_size: Size | None = None) -> NDArray[np.uint8]:
    """Decodes an image file upright, of shape (H, W, C), at a size or at its own; see :func:`read_images`."""
    try:
        with Image.open(file) as image:
            if image_size is not None:
                # JPEG files are decoded at a half, a quarter or an eighth of their size where that is still enough.
                image.draft(None, (2 * max(image_size), 2 * max(image_size)))
            return to_array(image, in_channels, image_size)
    except _UNREADABLE as error:
        raise ValueError(f"got {file}, which is not an image that can be read ({error})") from error


def to_array(image: Image.Image, in_channels: int, image_size: Size | None = None) -> NDArray[np.uint8]:
    """Turns an image upright and converts it to grey or RGB, of shape (H, W, C), at a size or at its own."""
    upright = _eight_bits(ImageOps.exif_transpose(image)).convert(_MODES[in_channels])
    if image_size is not None:
        upright = upright.resize(image_size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(upright).reshape(upright.height, upright.width, in_channels)


def upright_size(file: Path) -> Size:
    """Height and width of an image file as :func:`read_image` gives it, from the head of the file only."""
    try:
        with Image.open(file) as image:
            quarter_turn = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            # Of a TIFF file, Pillow gives the upright size itself.
            return image.size if quarter_turn and image.format != "TIFF" else image.size[::-1]
    except _UNREADABLE as error:
        raise ValueError(f"got {file}, which is not an image that can be read ({error})") from error


def shrink(size: Size, max_side: int) -> Size:
    """Height and width in the same proportion, of which neither is longer than a bound.

    Example:
        >>> shrink((400, 300), max_side=200), shrink((40, 30), max_side=200)
        ((200, 150), (40, 30))
    """
    factor = min(1, max_side / max(size))
    height, width = (max(round(side * factor), 1) for side in size)
    return height, width


def _eight_bits(image: Image.Image) -> Image.Image:
    """What Pillow's own conversion does not do well: it cuts 16 bits at 255, and warns of transparent palettes."""
    if image.mode.startswith("I"):  # "I" is what 16 bits of a PGM file become
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image
