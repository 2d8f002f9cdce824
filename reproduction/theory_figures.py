"""The figure and the table on the paper's theory: Figure 2, Theorem 1 and Remark 1."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.claims import FOUND
from reproduction.tables import Table

_COLORS = ("#0072B2", "#D55E00", "#009E73")  # of Okabe and Ito, distinct for colour-blind readers
_NAMES = {"san": "SAN", "max": "max of projections", "avg": "mean of projections"}
_POINTS = np.array([(-0.9, -0.1), (-0.4, 0.2), (0.1, -0.3), (0.5, 0.1), (0.9, 0.5), (1.3, 0.2)])
_ANGLES = np.radians([10.0, 65.0, 125.0])
_FLOOR = 1e-17  # of errors, some of which are zero


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


def theory_table(measurements: pd.DataFrame) -> Table:
    """Count the searches that found the set, at the largest M of each number of elements and features."""
    lines = measurements.query("experiment == 'theorem1'")
    lines = lines[lines["size"] == lines.groupby(["elements", "features"])["size"].transform("max")]
    found = (lines["error"] <= FOUND).groupby([lines[name] for name in ("elements", "features", "size", "aggregator")])
    counts = (found.sum().astype(str) + " of " + found.size().astype(str)).unstack()
    rows = [(*(f"{number:g}" for number in key), *texts[[*_NAMES]]) for key, texts in counts.iterrows()]
    remark = measurements.query("experiment == 'remark1'").groupby("p")["difference"].mean()
    first, last = (f"{remark.iloc[end]:.2g} at p = {remark.index[end]:g}" for end in (0, -1))
    note = (
        f"A set counts as found at a mean distance of its points of at most {FOUND}. Remark 1: the mean distance of "
        f"power-mean SAN from max is {first} and {last}."
    )
    header = ("elements N", "features K", "M", *_NAMES.values())
    return Table("Theorem 1: sets found again from their embedding", note, header, rows)


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
    for color, (name, label) in zip(_COLORS, _NAMES.items(), strict=True):
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
