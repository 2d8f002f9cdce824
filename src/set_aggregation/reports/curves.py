"""Learning curves: accuracy or loss on training and test set against epochs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

History = Sequence[Mapping[str, float]]
TRAIN, TEST, VAL, GAP = "tab:blue", "tab:red", "0.45", "0.87"


def run_figure(history: History, title: str = "") -> Figure:
    """Draw accuracy and loss of one run against epochs, side by side."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    draw_panel(accuracy, [history], "accuracy")
    draw_panel(loss, [history], "loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy")
    loss.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    accuracy.legend(loc="lower right")
    figure.suptitle(title)
    return figure


def draw_panel(
    axes: Axes,
    histories: Sequence[History],
    quantity: Literal["accuracy", "loss"] = "accuracy",
    validation: bool = True,
) -> None:
    """Draw training set, test set and the gap, of several runs the mean and a band from the lowest to the highest."""
    epochs = common_epochs(histories)
    means = {}
    for part, color in (("train", TRAIN), ("test", TEST)):
        rows = [{int(row["epoch"]): row[f"curve/{part}_{quantity}"] for row in history} for history in histories]
        values = np.array([[row[epoch] for epoch in epochs] for row in rows])
        means[part] = values.mean(0)
        if len(histories) > 1:
            axes.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.25, linewidth=0)
        axes.plot(epochs, means[part], color=color, label=part, **_markers(epochs))
    axes.fill_between(epochs, means["train"], means["test"], color=GAP, zorder=0, label="gap", linewidth=0)
    validated = [row for row in histories[0] if f"curve/val_{quantity}" in row]
    if validation and validated and len(histories) == 1:
        x, y = ([row[name] for row in validated] for name in ("epoch", f"curve/val_{quantity}"))
        axes.plot(x, y, linestyle=":", color=VAL, linewidth=1, label="validation", **_markers(validated))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)


def common_epochs(histories: Sequence[History]) -> list[int]:
    """Return the epochs that were measured in all runs."""
    return sorted(set.intersection(*({int(row["epoch"]) for row in history} for history in histories)))


def _markers(points: Sequence[object]) -> dict[str, Any]:
    """Return a style with markers for few points: a line through one point is invisible."""
    return {"marker": "o", "markersize": 3} if len(points) < 3 else {}
