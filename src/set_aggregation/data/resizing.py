"""Resizing of many images in memory."""

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from set_aggregation.data.image_set import Size

_IMAGES_AT_ONCE = 1000  # bounds the memory of the floating-point copy


def resize(images: UInt8[Tensor, "N C H W"], size: Size, antialias: bool = True) -> UInt8[Tensor, "N C h w"]:
    """Resizes images by bicubic interpolation.

    Computed in floating point, then rounded and cut to 0 ... 255.

    Args:
        images: images of one size.
        size: height and width of the result; images that have it already are given back unchanged.
        antialias: widen the filter where images become smaller, as Pillow does; without it the filter always looks
            at 4x4 pixels, as OpenCV's cubic interpolation does.

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
