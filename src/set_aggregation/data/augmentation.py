"""Random crop and flip of whole batches."""

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor


def random_crop_and_flip(images: Shaped[Tensor, "B C H W"], flip: bool) -> Shaped[Tensor, "B C H W"]:
    r"""Moves each image at random by up to an eighth of its size, zeros coming in, and mirrors half of them.

    For 32x32 images it is the augmentation of `He et al. (2016) <https://arxiv.org/abs/1512.03385>`_: four pixels of
    padding, a random crop, a horizontal flip. One gather does the batch, on the device it lies on, without a loop
    over its images.

    Args:
        images: the batch; any number type.
        flip: mirror left and right, each image with probability one half.

    Example:
        >>> random_crop_and_flip(torch.ones(8, 3, 32, 32, dtype=torch.uint8), flip=True).shape
        torch.Size([8, 3, 32, 32])
    """
    b, _, h, w = images.shape
    pad_h, pad_w = h // 8, w // 8
    device = images.device
    rows = torch.randint(2 * pad_h + 1, (b, 1), device=device) + torch.arange(h, device=device)  # B H
    columns = torch.randint(2 * pad_w + 1, (b, 1), device=device) + torch.arange(w, device=device)  # B W
    if flip:
        columns = torch.where(torch.rand(b, 1, device=device) < 0.5, columns.flip(1), columns)
    padded = F.pad(images, (pad_w, pad_w, pad_h, pad_h))
    samples = torch.arange(b, device=device)
    crops = padded[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # B H W C
    return crops.movedim(3, 1)
