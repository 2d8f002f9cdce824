"""The digits of scikit-learn, embedded in its package."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from set_aggregation.data.in_memory import InMemoryImages


class Digits(InMemoryImages):
    """Handwritten digits of scikit-learn: 1,797 grey images of 8x8 pixels, enlarged to 16x16, in ten classes.

    It is the test part of UCI's "Optical Recognition of Handwritten Digits" (`Alpaydin and Kaynak, 1998
    <https://doi.org/10.24432/C50P49>`_). It has no published split: ``split_seed`` chooses the test
    set of 360 images. Nothing is downloaded.

    Args:
        batch_size: images in a batch on one rank.
        val_size: images held out for validation.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`, except ``split``.

    Example:
        >>> digits = Digits(batch_size=32)
        >>> digits.setup("fit")
        >>> images, labels = next(iter(digits.train_dataloader()))
        >>> images.shape[1:], images.dtype
        (torch.Size([1, 16, 16]), torch.uint8)
    """

    num_classes = 10
    class_names = tuple(map(str, range(10)))
    in_channels = 1
    image_size = (16, 16)
    mean = (0.3127,)
    std = (0.3551,)
    flip = False
    test_size = 360

    def __init__(self, batch_size: int = 64, val_size: int = 180, **arguments: Any) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, split="paper", **arguments)

    def load(self) -> tuple[UInt8[Tensor, "N 1 16 16"], Int[Tensor, "N"], int]:
        """Read and enlarge the images of scikit-learn."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        small = torch.from_numpy(digits.images).float()[:, None] / 16  # N 1 8 8 in [0, 1]
        large = F.interpolate(small, self.image_size, mode="bicubic").clamp(0, 1)
        return (large * 255).round().to(torch.uint8), torch.from_numpy(digits.target).long(), 0
