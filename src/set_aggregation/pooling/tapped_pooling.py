"""Pooling of what another module has given."""

from torch import Tensor, nn

from set_aggregation.pooling.set_pooling import SetPooling


class TappedPooling(SetPooling):
    """Pools what another module has given, for models whose pooling is no module that could be replaced."""

    tapped: Tensor | None = None

    def listen(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        """Keeps the output of a module: a forward hook."""
        self.tapped = output

    def forward(self, x: Tensor) -> Tensor:
        """Pools what was kept, whatever comes in."""
        tapped, self.tapped = self.tapped, None
        assert tapped is not None
        return super().forward(tapped)
