"""What networks are given in place of the bytes of images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def to_float(
    images: Shaped[Tensor, "B C H W"], mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Float[Tensor, "B C H W"]:
    """Converts images to [0, 1] and, if mean and standard deviation are given, normalises them.

    Args:
        images: bytes, 0 to 255, or numbers in [0, 1] already.
        mean: of each channel, with pixels in [0, 1].
        std: standard deviation of each channel.

    Example:
        >>> image = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
        >>> to_float(image, mean=[0.5], std=[0.25]).tolist()
        [[[[-2.0, 2.0]]]]
    """
    # Convolutions on CPU and on tensor cores are faster in this memory format, and follow their input's. An exported
    # program leaves that to what runs it; to reason about strides would cost it sizes that it need not refuse.
    layout = torch.contiguous_format if torch.compiler.is_exporting() else torch.channels_last
    x = images.to(torch.float32, memory_format=layout)
    if not images.is_floating_point():
        x = x / 255
    if mean is None or std is None:
        return x
    of_channels, spread = (torch.tensor(values, device=x.device)[:, None, None] for values in (mean, std))
    return (x - of_channels) / spread
