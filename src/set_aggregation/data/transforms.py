"""Augmentation and conversion of whole batches on their device."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor


def random_crop_and_flip(images: Shaped[Tensor, "B C H W"], flip: bool) -> Shaped[Tensor, "B C H W"]:
    r"""Shift each image at random by up to an eighth of its size, padding with zeros, and mirror half of them.

    For 32x32 images this is the augmentation of `He et al. (2016) <https://arxiv.org/abs/1512.03385>`_: four pixels of
    padding, a random crop, a horizontal flip. The batch is one gather on its device, without a loop over images.
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


Mix = Literal["mixup", "cutmix", "both"]


@cache
def build_mix(
    kind: Mix, num_classes: int
) -> Callable[[Float[Tensor, "B C H W"], Tensor], tuple[Float[Tensor, "B C H W"], Float[Tensor, "B K"]]]:
    """Return a function that mixes pairs of images of a batch and their labels, one share for the whole batch.

    ``"mixup"`` blends the images (`Zhang et al. (2017) <https://arxiv.org/abs/1710.09412>`_), ``"cutmix"`` pastes a
    rectangle of one into the other (`Yun et al. (2019) <https://arxiv.org/abs/1905.04899>`_), ``"both"`` chooses one
    of them for each batch. The share is uniform in [0, 1] (alpha 1). Labels become shares of the classes (B, K).
    """
    from torchvision.transforms import v2  # imported only where it is used: it takes a second

    mixes = [v2.MixUp(num_classes=num_classes), v2.CutMix(num_classes=num_classes)]
    return v2.RandomChoice(mixes) if kind == "both" else mixes[kind == "cutmix"]


def to_float(
    images: Shaped[Tensor, "B C H W"],
    mean: Sequence[float] | Tensor | None = None,
    std: Sequence[float] | Tensor | None = None,
) -> Float[Tensor, "B C H W"]:
    """Convert images to [0, 1] and normalise them if mean and standard deviation are given."""
    if torch.compiler.is_exporting():  # strides and writes in place would add constraints to the program
        x = images.to(torch.float32)
        x = x if images.is_floating_point() else x / 255
    elif images.is_floating_point():
        x = images.to(torch.float32, memory_format=torch.channels_last)
    else:  # one pass; convolutions on CPU and on tensor cores are faster in this memory format
        like = torch.empty_like(images, dtype=torch.float32, memory_format=torch.channels_last)
        x = torch.div(images, 255, out=like)
    if mean is None or std is None:
        return x
    center, scale = (torch.as_tensor(each, dtype=x.dtype, device=x.device).view(-1, 1, 1) for each in (mean, std))
    return (x - center) / scale


def imagenet_statistics(in_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of ImageNet's photographs; for grey their means."""
    return ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if in_channels == 3 else ((0.449,), (0.226,))
