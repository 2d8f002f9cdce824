"""A feature map as a set: pixels are elements, coordinates are positions."""

from math import prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Positions = Literal["none", "linear", "trigonometric"]


class FeatureSet(nn.Module):
    r"""Turns a feature map into a set and the positions of its elements.

    The N pixels of the map, row by row, are the elements. Their positions are

    - ``"none"``: not given;
    - ``"linear"``: the index along each axis, scaled to [-1, 1]; P = 2 for images (Section 4.1 of
      `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_). An axis of length one is at 0;
    - ``"trigonometric"``: sines and cosines of the index r along each axis, as in Section 3.5 of
      `Vaswani et al. (2017) <https://arxiv.org/abs/1706.03762>`_; P = 2F for each axis:

      .. math::
          \sin(r / 10000^{k / F}), \; \cos(r / 10000^{k / F}), \qquad k = 0, \dots, F - 1.

    Args:
        positions: one of the three.
        num_frequencies: number F of frequencies of the trigonometric positions.
        num_axes: number of spatial axes: 1 for sequences, 2 for images, 3 for volumes and videos.

    Shape:
        - input: :math:`(B, D, h, w)`, or with as many spatial axes as ``num_axes``; channels_last memory is not copied.
        - output: :math:`(B, N, D)` and :math:`(N, P)`, or None instead of the latter.

    Example:
        >>> import torch
        >>> elements, positions = FeatureSet("linear")(torch.randn(8, 64, 2, 2))
        >>> elements.shape
        torch.Size([8, 4, 64])
        >>> positions.tolist()
        [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """

    def __init__(self, positions: Positions = "linear", num_frequencies: int = 4, num_axes: int = 2) -> None:
        super().__init__()
        for name, number in (("num_axes", num_axes), ("num_frequencies", num_frequencies)):
            if number < 1:
                raise ValueError(f"FeatureSet: got {name}={number}, expected at least 1")
        sizes = {"none": 0, "linear": num_axes, "trigonometric": 2 * num_axes * num_frequencies}
        if positions not in sizes:
            raise ValueError(f"FeatureSet: got positions={positions!r}, expected one of {', '.join(map(repr, sizes))}")
        self.positions = positions
        self.num_frequencies = num_frequencies
        self.num_axes = num_axes
        self.position_features = sizes[positions]  # P, 0 without positions

    def forward(self, x: Float[Tensor, "B D *spatial"]) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "N P"] | None]:
        """Return the elements and their positions."""
        elements = x.flatten(2).transpose(1, 2)  # B N D
        if self.positions == "none":
            return elements, None
        sizes = x.shape[2:]
        if len(sizes) != self.num_axes:
            raise ValueError(f"FeatureSet: got a map of shape {tuple(x.shape)}, expected {self.num_axes} spatial axes")
        parts = []
        for axis, size in enumerate(sizes):
            encoded = self._encode(size, x)  # size P/axes
            before, after = prod(sizes[:axis]), prod(sizes[axis + 1 :])
            parts.append(encoded[None, :, None].expand(before, -1, after, -1).flatten(0, 2))
        return elements, torch.cat(parts, dim=1)

    def extra_repr(self) -> str:
        """Return the kind of positions and their size."""
        return f"positions={self.positions!r}, position_features={self.position_features}"

    def _encode(self, size: int, like: Tensor) -> Float[Tensor, "size p"]:
        """Return the positions along one axis."""
        index = torch.arange(size, device=like.device, dtype=torch.float32)
        if self.positions == "linear":
            middle = (size - 1) / 2
            # sym_max stays symbolic in an exported program; max would be evaluated for the size of the export.
            return ((index - middle) / torch.sym_max(middle, 0.5))[:, None].to(like.dtype)  # type: ignore[index]
        exponents = torch.arange(self.num_frequencies, device=like.device) / self.num_frequencies
        angles = index[:, None] / 10000**exponents  # size F
        return torch.cat((angles.sin(), angles.cos()), dim=1).to(like.dtype)
