"""The classifier of the aggregated vector."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn


class Head(nn.Sequential):
    """One or two dense layers.

    Table 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_ has one dense layer after SAN and two after
    every other aggregator. The authors' code has no activation between the two, and the text names none.

    Args:
        in_features: size M of the aggregated vector.
        num_classes: number K of classes.
        hidden_features: width of the hidden dense layer; None for one dense layer.
        hidden_activation: activation of the hidden layer, ``"none"`` or ``"relu"``.
        dropout: probability of dropping each input of the last dense layer in training.

    Shape:
        - input: :math:`(B, M)`.
        - output: :math:`(B, K)`, logits.

    Raises:
        ValueError: a number below 1, an unknown activation, or a probability outside [0, 1).

    Example:
        >>> Head(64, 10, hidden_features=128)
        Head(
          (hidden): Linear(in_features=64, out_features=128, bias=True)
          (classifier): Linear(in_features=128, out_features=10, bias=True)
        )
    """

    classifier: nn.Linear

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        hidden_features: int | None = None,
        hidden_activation: Literal["none", "relu"] = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for fine, got, expected in (
            (num_classes >= 1, f"{num_classes=}", "at least 1"),
            (hidden_features is None or hidden_features >= 1, f"{hidden_features=}", "at least 1, or None"),
            (hidden_activation in ("none", "relu"), f"{hidden_activation=}", "'none' or 'relu'"),
            (0 <= dropout < 1, f"{dropout=}", "a probability in [0, 1)"),
        ):
            if not fine:
                raise ValueError(f"Head: got {got}, expected {expected}")
        if hidden_features is not None:
            self.add_module("hidden", nn.Linear(in_features, hidden_features))
            if hidden_activation == "relu":
                self.add_module("activation", nn.ReLU())
            in_features = hidden_features
        if dropout > 0:
            self.add_module("dropout", nn.Dropout(dropout))
        self.width = in_features  # inputs of the last dense layer, the "size" of the paper
        self.add_module("classifier", nn.Linear(in_features, num_classes))

    def forward(self, input: Float[Tensor, "B M"]) -> Float[Tensor, "B K"]:  # noqa: A002 - nn.Sequential's name
        """Return the logits."""
        return super().forward(input)  # type: ignore[no-untyped-call]
