"""Image files a person gives, as one batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

_MODES = {1: "L", 3: "RGB"}


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


def read_images(files: Sequence[Path], in_channels: int, image_size: tuple[int, int]) -> UInt8[Tensor, "B C H W"]:
    """Decodes image files, converts them to grey or RGB and resizes them (bicubic, antialiased) to one size.

    Args:
        files: any format Pillow reads.
        in_channels: 1 for grey, 3 for RGB.
        image_size: height and width in pixels.

    Raises:
        ValueError: a file that is not a readable image; the file is named.
    """
    h, w = image_size
    images = []
    for file in files:
        try:
            with Image.open(file) as image:
                upright = _eight_bits(ImageOps.exif_transpose(image))
                resized = upright.convert(_MODES[in_channels]).resize((w, h), Image.Resampling.BICUBIC)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"got {file}, which is not an image that can be read ({error})") from error
        images.append(np.asarray(resized).reshape(h, w, in_channels))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _eight_bits(image: Image.Image) -> Image.Image:
    """What Pillow's own conversion does not do well: it cuts 16 bits at 255, and warns of transparent palettes."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image
