"""One panel of a figure: a quantity on training and test set against epochs."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

History = Sequence[Mapping[str, float]]
TRAIN, TEST, VAL, GAP = "tab:blue", "tab:red", "0.45", "0.9"


def draw_panel(axes: Axes, histories: Sequence[History], quantity: Literal["accuracy", "loss"] = "accuracy") -> None:
    """Draws the training set in blue, the test set in red and the gap between them shaded, as the paper's Figures 3
    and 4; of several runs the mean, with a band from the lowest to the highest of them.

    Args:
        axes: where to draw.
        histories: of each run, what :class:`~set_aggregation.callbacks.LearningCurves` has measured. Epochs that some
            of them lack are left out.
        quantity: what to draw.
    """
    epochs = sorted(set.intersection(*({int(row["epoch"]) for row in history} for history in histories)))
    means = {}
    for part, color in (("train", TRAIN), ("test", TEST)):
        values = _values(histories, epochs, f"curve/{part}_{quantity}")
        means[part] = values.mean(0)
        if len(histories) > 1:
            axes.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.25, linewidth=0)
        axes.plot(epochs, means[part], color=color, label=part, marker="o" if len(epochs) < 3 else None, markersize=3)
    axes.fill_between(epochs, means["train"], means["test"], color=GAP, zorder=0, label="gap", linewidth=0)
    if len(histories) == 1:
        validated = [row for row in histories[0] if f"curve/val_{quantity}" in row]
        axes.plot(
            [row["epoch"] for row in validated],
            [row[f"curve/val_{quantity}"] for row in validated],
            linestyle=":",
            color=VAL,
            linewidth=1,
            label="validation",
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _values(histories: Sequence[History], epochs: Sequence[int], key: str) -> NDArray[np.float64]:
    chosen = [{int(row["epoch"]): row[key] for row in history} for history in histories]
    return np.array([[values[epoch] for epoch in epochs] for values in chosen])
