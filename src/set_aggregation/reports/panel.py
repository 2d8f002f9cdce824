"""One panel of a figure: a quantity on training and test set against epochs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

History = Sequence[Mapping[str, float]]
TRAIN, TEST, VAL, GAP = "tab:blue", "tab:red", "0.45", "0.87"


def common_epochs(histories: Sequence[History]) -> list[int]:
    """The epochs that were measured in all of several runs.

    Args:
        histories: of each run, what :class:`~set_aggregation.callbacks.LearningCurves` has measured.
    """
    return sorted(set.intersection(*({int(row["epoch"]) for row in history} for history in histories)))


def draw_panel(
    axes: Axes,
    histories: Sequence[History],
    quantity: Literal["accuracy", "loss"] = "accuracy",
    validation: bool = True,
) -> None:
    """Draws the training set in blue, the test set in red and the gap between them shaded, as the paper's Figures 3
    and 4; of several runs the mean, with a band from the lowest to the highest of them.

    Args:
        axes: where to draw.
        histories: of each run, what :class:`~set_aggregation.callbacks.LearningCurves` has measured. Epochs that some
            of them lack are left out.
        quantity: what to draw.
        validation: whether to draw the validation set too, dotted, of a single run that has it.
    """
    epochs = common_epochs(histories)
    means = {}
    for part, color in (("train", TRAIN), ("test", TEST)):
        values = _values(histories, epochs, f"curve/{part}_{quantity}")
        means[part] = values.mean(0)
        if len(histories) > 1:
            axes.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.25, linewidth=0)
        axes.plot(epochs, means[part], color=color, label=part, **_markers(epochs))
    axes.fill_between(epochs, means["train"], means["test"], color=GAP, zorder=0, label="gap", linewidth=0)
    validated = [row for row in histories[0] if f"curve/val_{quantity}" in row]
    if validation and validated and len(histories) == 1:
        axes.plot(
            [row["epoch"] for row in validated],
            [row[f"curve/val_{quantity}"] for row in validated],
            linestyle=":",
            color=VAL,
            linewidth=1,
            label="validation",
            **_markers(validated),
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)


def _values(histories: Sequence[History], epochs: Sequence[int], key: str) -> NDArray[np.float64]:
    chosen = [{int(row["epoch"]): row[key] for row in history} for history in histories]
    return np.array([[values[epoch] for epoch in epochs] for values in chosen])


def _markers(points: Sequence[object]) -> dict[str, Any]:
    """A line through one point is not seen."""
    return {"marker": "o", "markersize": 3} if len(points) < 3 else {}
