"""Figures of the report: Figures 3 and 4 of the paper, and its theory."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.claims import select
from reproduction.paper_numbers import DATA, FLATTEN_ROW, NAMES, TABLE2_SIZES
from reproduction.tables import PROJECTIONS

FIGURES = {"cifar10": "Figure 3", "fashion_mnist": "Figure 4"}
_ROWS = ("max", "conv1x1", "avg", "san", "flatten")
_TRAIN, _TEST, _GAP = "#0072B2", "#D55E00", "#DDDDDD"
_COLORS = ("#0072B2", "#D55E00", "#009E73")  # of Okabe and Ito, distinct for colour-blind readers
_POINTS = np.array([(-0.9, -0.1), (-0.4, 0.2), (0.1, -0.3), (0.5, 0.1), (0.9, 0.5), (1.3, 0.2)])
_ANGLES = np.radians([10.0, 65.0, 125.0])
_FLOOR = 1e-17  # of errors, some of which are zero


def learning_curves(runs: pd.DataFrame, data: str) -> Figure:
    """Draw accuracy against epochs: a row for each aggregator and a column for each size that was run."""
    runs = runs[runs["data"] == data]
    names = [name for name in _ROWS if name in set(runs["aggregator"])]
    sizes = [size for size in TABLE2_SIZES if size in set(runs["size"])]
    figure = Figure((1 + 2.2 * len(sizes), 0.7 + 1.6 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(sizes), sharex=True, sharey=True, squeeze=False)
    for row, name in zip(panels, names, strict=True):
        for axes, size in zip(row, sizes, strict=True):
            own = runs[(runs["aggregator"] == name) & (runs["size"] == size)]
            if len(own):
                _draw(axes, own["curves"])
                axes.set_title(f"{NAMES[name]}, {size}", fontsize=9)
            else:
                axes.set_axis_off()
    _finish(figure, f"{FIGURES[data]}, {DATA[data]}: accuracy against epochs")
    return figure


def summary_figure(runs: pd.DataFrame, names: Sequence[str] = ("san", "max", "avg"), size: int = 1024) -> Figure | None:
    """Draw Figure 3 at one size, with the most epochs that all aggregators have; None without such runs."""
    runs = curves_of(runs).query("data == 'cifar10' and size == @size and preset == 'paper' and aggregator in @names")
    complete = runs.groupby("epochs")["aggregator"].nunique() == len(names)
    if not complete.any():
        return None
    runs = runs[runs["epochs"] == complete[complete].index.max()]
    figure = Figure((10, 3.1), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        own = runs[runs["aggregator"] == name]
        _draw(axes, own["curves"])
        axes.set(xlabel="epoch", title=f"{NAMES[name]}: test accuracy {own['best'].mean():.3f}")
    _finish(figure, f"CIFAR-10, size {size}, mean over {own['seed'].nunique()} seeds")
    return figure


def curves_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Figures 3 and 4 that have curves; flatten has the row of Table 2 as its size."""
    runs = select(runs, data=list(DATA))
    runs.loc[runs["aggregator"] == "flatten", "size"] = FLATTEN_ROW
    return runs[runs["size"].isin(TABLE2_SIZES) & (runs["curves"].map(len) > 0)]


def _draw(axes: Axes, curves: pd.Series) -> None:
    """Draw the mean over the seeds."""
    rows: list[Mapping[str, float]] = [row for of_seed in curves for row in of_seed]
    mean = pd.DataFrame(rows).groupby("epoch")[["train_accuracy", "test_accuracy"]].mean()
    axes.fill_between(mean.index, mean["train_accuracy"], mean["test_accuracy"], color=_GAP, label="gap")
    axes.plot(mean.index, mean["train_accuracy"], color=_TRAIN, label="training")
    axes.plot(mean.index, mean["test_accuracy"], color=_TEST, label="test")
    axes.grid(color="0.92")
    axes.tick_params(labelsize=7)


def _finish(figure: Figure, title: str) -> None:
    handles, labels = next(axes for axes in figure.axes if axes.lines).get_legend_handles_labels()
    figure.suptitle(title, fontsize=11)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def theory_figure(measurements: pd.DataFrame) -> Figure:
    """Draw Figure 2 of the paper, Theorem 1 and Remark 1."""
    figure = Figure((16, 3.6), layout="constrained")
    panels = figure.subplots(1, 4)
    _draw_figure2(panels[0], panels[1])
    _draw_theorem1(panels[2], measurements.query("experiment == 'theorem1'"))
    _draw_remark1(panels[3], measurements.query("experiment == 'remark1'"))
    for axes in panels[1:]:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_figure2(left: Axes, right: Axes) -> None:
    """Draw the projections of a set, and their aggregate, which has a bend at each b = -v x (dots)."""
    radius = 1.25 * float(np.linalg.norm(_POINTS, axis=1).max())
    b = np.linspace(-radius, radius, 201)
    for color, angle in zip(_COLORS, _ANGLES, strict=True):
        v = np.array([np.cos(angle), np.sin(angle)])
        projections = _POINTS @ v  # N
        feet = projections[:, None] * v  # N 2
        left.plot(*np.outer(v, (-radius, radius)), color=color, linewidth=1)
        tip, before = (tuple(share * radius * v) for share in (1, 0.9))
        left.annotate("", tip, before, arrowprops={"arrowstyle": "->", "color": color})
        for point, foot in zip(_POINTS, feet, strict=True):
            left.plot(*zip(point, foot, strict=True), color=color, linewidth=0.6, linestyle=":")
        left.plot(*feet.T, "o", color=color, markersize=4)
        for at, style in ((b, "-"), (-projections, "o")):
            right.plot(at, np.maximum(projections[:, None] + at, 0).sum(0), style, color=color, markersize=4)
    left.plot(*_POINTS.T, "ko", markersize=5)
    left.set(aspect="equal", title="Figure 2: projections $v^T x_i$")
    left.set_axis_off()
    right.set(title="aggregated", xlabel="bias $b$", ylabel=r"$\sum_i\,\mathrm{ReLU}(v^T x_i + b)$")


def _draw_theorem1(axes: Axes, lines: pd.DataFrame) -> None:
    lines = lines.assign(
        ratio=lines["size"] / (lines["elements"] * lines["features"]), error=lines["error"].clip(_FLOOR)
    )
    for color, (name, label) in zip(_COLORS, PROJECTIONS.items(), strict=True):
        own = lines[lines["aggregator"] == name]
        axes.plot(own["ratio"], own["error"], "o", color=color, markersize=3, alpha=0.25)
        median = own.groupby("ratio")["error"].median()
        axes.plot(median.index, median, color=color, label=label)
    axes.set(yscale="log", xlabel="$M / NK$", ylabel="matching error", title="Theorem 1: sets found again")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, fontsize=8)


def _draw_remark1(axes: Axes, lines: pd.DataFrame) -> None:
    axes.plot(lines["p"], lines["difference"], "o", color=_COLORS[0], alpha=0.4, markersize=4)
    median = lines.groupby("p")["difference"].median()
    axes.plot(median.index, median, color=_COLORS[0])
    axes.set(xscale="log", yscale="log", xlabel="$p$", ylabel="mean distance from max")
    axes.set_title("Remark 1: SAN tends to max")
