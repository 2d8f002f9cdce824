"""Search and decoding of image files."""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from set_aggregation.data.image_set import Size

_MODES = {1: "L", 3: "RGB"}
_NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # formats that Pillow only identifies
_NOT_DATA = {"__macosx", "$recycle.bin", "#recycle", "@eadir", "system volume information", "lost+found", "__pycache__"}
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE = 258, 281, 341  # tags of TIFF
_WHITES = (1.0, 255.0, 1023.0, 4095.0, 65535.0, 2.0**31 - 1)  # of floats and of 8, 10, 12, 16 and 31 bits
_EXCESS = 1.25  # factor by which floats may exceed white, for instance after resizing
_GUESSED_FROM = 200  # files
_UNREADABLE = (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError)  # of Pillow's plugins


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List the image files among and below paths, sorted within each folder."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"got {path}, which does not exist; expected an image file or a folder of them")
        files += images_below(path) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"got no image file in {', '.join(map(str, paths)) or 'an empty list'}")
    return files


def images_below(folder: Path) -> list[Path]:
    """List the image files in a folder at any depth, links included, without hidden files and folders of the system."""
    formats = Image.registered_extensions().items()
    suffixes = {suffix for suffix, name in formats if name in Image.OPEN and name not in _NOT_DECODED}
    files: list[Path] = []
    visited: set[str] = set()  # a link may lead back to a folder above it
    for path, folders, names in os.walk(folder, followlinks=True):
        is_new = (real := os.path.realpath(path)) not in visited
        visited.add(real)
        folders[:] = [name for name in folders if is_new and not is_hidden(name)]
        found = (Path(path, name) for name in names if is_new and not is_hidden(name))
        files += [file for file in found if file.suffix.lower() in suffixes and file.is_file()]
    return sorted(files)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is not data, such as ``.ipynb_checkpoints`` or ``$RECYCLE.BIN``."""
    return name.startswith(".") or name.lower() in _NOT_DATA


def read_images(
    files: Sequence[Path], in_channels: int, image_size: Size, white: float | None = None
) -> UInt8[Tensor, "B C H W"]:
    """Decode image files, convert them to grey or RGB and resize them (bicubic, antialiased) to one size."""
    images = np.stack([read_image(file, in_channels, image_size, white) for file in files])
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def read_image(
    file: Path, in_channels: int, image_size: Size | None = None, white: float | None = None
) -> NDArray[np.uint8]:
    """Decode an image file upright, of shape (H, W, C), resized or at its own size; see :func:`to_array`."""
    with _opened(file) as image:
        if image_size is not None:
            # JPEG files are decoded at a half, a quarter or an eighth of their size if that is large enough.
            image.draft(None, (2 * max(image_size), 2 * max(image_size)))
        return to_array(image, in_channels, image_size, white)


def to_array(
    image: Image.Image, in_channels: int, image_size: Size | None = None, white: float | None = None
) -> NDArray[np.uint8]:
    """Turn an image upright and convert it to grey or RGB, of shape (H, W, C), resized or at its own size.

    ``white`` is the value of white in images of more than 8 bits that do not state it.
    """
    upright = _eight_bits(ImageOps.exif_transpose(image), image, white).convert(_MODES[in_channels])
    if image_size is not None:
        upright = upright.resize(image_size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(upright).reshape(upright.height, upright.width, in_channels)


def guess_white(files: Sequence[Path]) -> float | None:
    """Guess one value of white for all images of more than 8 bits that do not state it, from the largest value in some.

    Return None if there are no such images.
    """
    guesses = [0.0]
    for file in files[:: max(1, len(files) // _GUESSED_FROM)]:
        with _opened(file) as image:
            if image.mode[0] in "IF" and _stated_white(image) is None:
                values = np.asarray(image)
                largest = float(values.max(initial=0, where=np.isfinite(values)))
                # Floats may exceed white a little, and integers up to 1 are dark, not binary.
                largest = largest / _EXCESS if image.mode == "F" else largest and max(largest, 2)
                guesses.append(largest and next((white for white in _WHITES if largest <= white), _WHITES[-1]))
    return max(guesses) or None


def upright_size(file: Path) -> Size:
    """Return height and width of an image file as :func:`read_image` returns it, from the header of the file only."""
    with _opened(file) as image:
        # PngImageFile.getexif would decode the image to look for a chunk after its pixels.
        quarter_turn = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        # Pillow returns the upright size of a TIFF file.
        return image.size if quarter_turn and image.format != "TIFF" else image.size[::-1]


def sizes_of_files(files: Sequence[Path], decode: bool = False) -> tuple[dict[Path, Size], dict[Path, str]]:
    """Return the upright size of each readable image file, and the reason for each unreadable one.

    The headers are read in threads. A damaged body is found only with ``decode``.
    """

    def measure(file: Path) -> Size | str:
        try:
            return read_image(file, in_channels=3).shape[:2] if decode else upright_size(file)
        except ValueError as error:
            return str(error.__cause__)

    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:  # Pillow releases Python's lock
        found = dict(zip(files, pool.map(measure, files), strict=True))
    sizes = {file: size for file, size in found.items() if not isinstance(size, str)}
    return sizes, {file: reason for file, reason in found.items() if isinstance(reason, str)}


def shrink(size: Size, max_side: int) -> Size:
    """Return height and width in the same proportion, neither longer than a bound."""
    factor = min(1, max_side / max(size))
    height, width = (max(round(side * factor), 1) for side in size)
    return height, width


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as image:
            yield image
    except _UNREADABLE as error:
        raise ValueError(f"got {file}, which is not an image that can be read ({error})") from error


def _eight_bits(image: Image.Image, opened: Image.Image, white: float | None) -> Image.Image:
    """Scale 16- and 32-bit integers and floats, which Pillow would clip, to bytes, and convert other special modes."""
    if image.mode[0] in "IF":
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        if (white := _stated_white(opened) or white) is None:
            white, largest = (1.0 if opened.mode == "F" else 65535.0), float(values.max(initial=0))
            if largest > white * _EXCESS or 0 < largest < white / 15:
                warnings.warn(  # Python shows equal warnings once
                    f"an image of more than 8 bits does not state its range; {white:g} is taken for white and its "
                    "values do not fit; convert the files to 8 bits or to the full range",
                    stacklevel=2,
                )
        return Image.fromarray((values * (255 / white)).round().clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:  # Pillow would warn
        return image.convert("RGBA")
    return image.convert("RGB") if image.mode == "LAB" else image  # Pillow converts it to nothing else


def _stated_white(image: Image.Image) -> float | None:
    """Return the value of white that the file states."""
    tags: Any = getattr(image, "tag_v2", {})
    for tag in (_S_MAX_SAMPLE_VALUE, _MAX_SAMPLE_VALUE):
        if stated := np.max(tags.get(tag, 0)):
            return float(stated)
    bits = int(np.max(tags.get(_BITS_PER_SAMPLE, 0)))
    if bits % 8:  # 16 bits may hold 10
        return 2.0**bits - 1
    return 65535.0 if image.format == "PPM" else None  # Pillow scales PGM files by the maximum that they state
