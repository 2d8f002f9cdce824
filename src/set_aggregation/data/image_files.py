"""Search and decoding of image files."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from set_aggregation.data.image_set import Size

_MODES = {1: "L", 3: "RGB"}
_NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # formats that Pillow only identifies
_MAX_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE = 281, 341  # tags of TIFF
_UNREADABLE = (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError)  # of Pillow's plugins


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List the image files among and below paths, sorted within each folder.

    Folders are searched at any depth, links included. Hidden files and ``__MACOSX`` are skipped.
    """
    formats = Image.registered_extensions().items()
    suffixes = {suffix for suffix, name in formats if name in Image.OPEN and name not in _NOT_DECODED}
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"got {path}, which does not exist; expected an image file or a folder of them")
        found = sorted(_walk(path)) if path.is_dir() else [path]
        files += [file for file in found if file == path or file.suffix.lower() in suffixes]
    if not files:
        raise ValueError(f"got no image file in {', '.join(map(str, paths)) or 'an empty list'}")
    return files


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is not data, such as ``.ipynb_checkpoints`` or ``__MACOSX``."""
    return name.startswith(".") or name == "__MACOSX"


def _walk(folder: Path) -> Iterator[Path]:
    visited: set[str] = set()  # a link may lead back to a folder above it
    for path, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(path) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(path))
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (file for name in names if not is_hidden(name) and (file := Path(path, name)).is_file())


def read_images(files: Sequence[Path], in_channels: int, image_size: Size) -> UInt8[Tensor, "B C H W"]:
    """Decode image files, convert them to grey or RGB and resize them (bicubic, antialiased) to one size."""
    return torch.from_numpy(np.stack([read_image(file, in_channels, image_size) for file in files])).permute(0, 3, 1, 2)


def read_image(file: Path, in_channels: int, image_size: Size | None = None) -> NDArray[np.uint8]:
    """Decode an image file upright, of shape (H, W, C), resized or at its own size; see :func:`read_images`."""
    try:
        with Image.open(file) as image:
            if image_size is not None:
                # JPEG files are decoded at a half, a quarter or an eighth of their size if that is large enough.
                image.draft(None, (2 * max(image_size), 2 * max(image_size)))
            return to_array(image, in_channels, image_size)
    except _UNREADABLE as error:
        raise ValueError(f"got {file}, which is not an image that can be read ({error})") from error


def to_array(image: Image.Image, in_channels: int, image_size: Size | None = None) -> NDArray[np.uint8]:
    """Turn an image upright and convert it to grey or RGB, of shape (H, W, C), resized or at its own size."""
    upright = _eight_bits(ImageOps.exif_transpose(image), image).convert(_MODES[in_channels])
    if image_size is not None:
        upright = upright.resize(image_size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(upright).reshape(upright.height, upright.width, in_channels)


def upright_size(file: Path) -> Size:
    """Return height and width of an image file as :func:`read_image` returns it, from the header of the file only."""
    try:
        with Image.open(file) as image:
            # PngImageFile.getexif would decode the image to look for a chunk after its pixels.
            quarter_turn = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            # Pillow returns the upright size of a TIFF file.
            return image.size if quarter_turn and image.format != "TIFF" else image.size[::-1]
    except _UNREADABLE as error:
        raise ValueError(f"got {file}, which is not an image that can be read ({error})") from error


def shrink(size: Size, max_side: int) -> Size:
    """Return height and width in the same proportion, neither longer than a bound.

    Example:
        >>> shrink((400, 300), max_side=200), shrink((40, 30), max_side=200)
        ((200, 150), (40, 30))
    """
    factor = min(1, max_side / max(size))
    height, width = (max(round(side * factor), 1) for side in size)
    return height, width


def _eight_bits(image: Image.Image, opened: Image.Image) -> Image.Image:
    """Scale 16- and 32-bit integers and floats, which Pillow would clip, to bytes by the maximum of the file."""
    if image.mode[0] in "IF":
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        scaled = values * (255 / _white(opened, values))
        return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:  # Pillow would warn
        return image.convert("RGBA")
    return image


def _white(image: Image.Image, values: NDArray[np.float64]) -> float:
    """Return the value of white: the maximum that the file states, or a guess from the largest value."""
    tags = getattr(image, "tag_v2", {})
    for tag in (_S_MAX_SAMPLE_VALUE, _MAX_SAMPLE_VALUE):
        stated = tags.get(tag)
        stated = stated[0] if isinstance(stated, tuple) else stated
        if stated:
            return float(stated)
    largest = float(values.max(initial=0))
    if image.mode == "F":
        white = next((white for white in (1.0, 255.0) if largest <= white), 65535.0)
    else:
        white = next((2.0**bits - 1 for bits in (8, 10, 12, 16) if largest < 2**bits), 2.0**31 - 1)
        if white == 65535 or image.format == "PPM":  # Pillow scales PGM files by the maximum that they state
            return 65535.0
    if largest == 0 or white == 1:
        return white
    warnings.warn(  # Python shows equal warnings once
        f"images of more than 8 bits do not state their range; {white:g} is taken for white, guessed from the largest "
        "value of each image; convert the files to 8 bits or to the full range to control it",
        stacklevel=2,
    )
    return white
