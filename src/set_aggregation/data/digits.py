"""The handwritten digits that come with scikit-learn."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from set_aggregation.data.in_memory import InMemoryImages


class Digits(InMemoryImages):
    """1,797 real handwritten digits, 8x8 pixels in grey, enlarged to 16x16; they come with scikit-learn.

    The test part of UCI's "Optical Recognition of Handwritten Digits" (`Alpaydin and Kaynak, 1998
    <https://doi.org/10.24432/C50P49>`_). There is no published split: 360 images chosen by ``split_seed`` are the
    test set. It needs no download, so it is what everything can be tried on.

    Args:
        batch_size: images of a batch on one rank.
        val_size: images held out for validation.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`; there is no ``split``.

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
        super().__init__(batch_size, val_size, split="paper", **arguments)

    def load(self) -> tuple[UInt8[Tensor, "N 1 16 16"], Int[Tensor, "N"], int]:
        """Reads scikit-learn's copy."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        small = torch.from_numpy(digits.images).float()[:, None] / 16  # N 1 8 8 in [0, 1]
        large = F.interpolate(small, self.image_size, mode="bicubic").clamp(0, 1)
        return (large * 255).round().to(torch.uint8), torch.from_numpy(digits.target).long(), 0
