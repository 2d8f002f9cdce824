"""A feature map seen as a set: its pixels are the elements, their places the positions."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Positions = Literal["none", "linear", "trigonometric"]


class FeatureSet(nn.Module):
    r"""Turns a feature map into a set and the positions of its elements.

    The N = h w pixels of the map, row by row, are the elements. Their positions are

    - ``"none"``: not given;
    - ``"linear"``: row and column index scaled to [-1, 1], P = 2 (Section 4.1 of
      `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_); the only row of a map one pixel high is at 0;
    - ``"trigonometric"``: sines and cosines of the row index r, then of the column index, as in Section 3.5 of
      `Vaswani et al. (2017) <https://arxiv.org/abs/1706.03762>`_, P = 4F:

      .. math::
          \sin(r / 10000^{k / F}), \; \cos(r / 10000^{k / F}), \qquad k = 0, \dots, F - 1.

    Args:
        positions: which of the three.
        num_frequencies: number F of frequencies of the trigonometric positions.

    Attributes:
        position_features: size P of a position, 0 without positions.

    Shape:
        - input: :math:`(B, D, h, w)`.
        - output: :math:`(B, N, D)` and :math:`(N, P)`, or None in place of the latter. A map in channels_last
          memory format is not copied.

    Raises:
        ValueError: unknown ``positions``, or ``num_frequencies`` below 1.

    Example:
        >>> import torch
        >>> elements, positions = FeatureSet("linear")(torch.randn(8, 64, 2, 2))
        >>> elements.shape
        torch.Size([8, 4, 64])
        >>> positions.tolist()
        [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """

    def __init__(self, positions: Positions = "linear", num_frequencies: int = 4) -> None:
        super().__init__()
        sizes = {"none": 0, "linear": 2, "trigonometric": 4 * num_frequencies}
        if positions not in sizes:
            raise ValueError(f"FeatureSet: got positions={positions!r}, expected one of {', '.join(map(repr, sizes))}")
        if num_frequencies < 1:
            raise ValueError(f"FeatureSet: got num_frequencies={num_frequencies}, expected at least 1")
        self.positions = positions
        self.num_frequencies = num_frequencies
        self.position_features = sizes[positions]

    def forward(self, x: Float[Tensor, "B D h w"]) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "N P"] | None]:
        """Gives the set and the positions."""
        elements = x.flatten(2).transpose(1, 2)  # B N D
        if self.positions == "none":
            return elements, None
        h, w = x.shape[2:]
        rows, columns = self._encode(h, x), self._encode(w, x)  # h P/2, w P/2
        grid = torch.cat((rows[:, None].expand(-1, w, -1), columns[None].expand(h, -1, -1)), dim=2)  # h w P
        return elements, grid.flatten(0, 1)

    def extra_repr(self) -> str:
        """The kind of positions and their size."""
        return f"positions={self.positions!r}, position_features={self.position_features}"

    def _encode(self, size: int, like: Tensor) -> Float[Tensor, "size half"]:
        """The positions along one axis."""
        index = torch.arange(size, device=like.device, dtype=torch.float32)
        if self.positions == "linear":
            middle = (size - 1) / 2
            # sym_max stays in an exported program; max would be decided by the size that it was exported at.
            return ((index - middle) / torch.sym_max(middle, 0.5))[:, None].to(like.dtype)  # type: ignore[index]
        exponents = torch.arange(self.num_frequencies, device=like.device) / self.num_frequencies
        angles = index[:, None] / 10000**exponents  # size F
        return torch.cat((angles.sin(), angles.cos()), dim=1).to(like.dtype)
