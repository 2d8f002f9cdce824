"""Figures on the paper's theory: Figure 2, the limit of Remark 1, and the searches of Theorem 1."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

Line = dict[str, Any]  # of results/theory.jsonl

_COLORS = ("#0072B2", "#D55E00", "#009E73")  # of Okabe and Ito, told apart by everybody
_NAMES = {"san": "SAN", "max": "max of projections", "avg": "mean of projections"}
_POINTS = ((-0.9, -0.1), (-0.4, 0.2), (0.1, -0.3), (0.5, 0.1), (0.9, 0.5), (1.3, 0.2))
_ANGLES = (10.0, 65.0, 125.0)
_MET = 1e-6  # residual of a search that has found a set of the given embedding
_FLOOR = 1e-17  # of errors, some of which are zero


def figure2(points: Float[NDArray[np.float64], "N 2"] | None = None, angles: Sequence[float] = _ANGLES) -> Figure:
    r"""Draws Figure 2 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_ from data.

    On the left a set is projected on a few directions v; on the right stands, in the colours of the directions, the sum
    over the set

    .. math::
        b \mapsto \sum_{i=1}^{N} \mathrm{ReLU}(v^\top x_i + b),

    whose slope grows by one at each :math:`-v^\top x_i` (dots): it holds all that the projection knows of the set.

    Args:
        points: the set; by default six points.
        angles: of the directions, in degrees, up to three.

    Example:
        >>> len(figure2().axes)
        2
    """
    x = np.array(_POINTS) if points is None else points  # N 2
    figure = Figure((9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    radius = 1.25 * float(np.linalg.norm(x, axis=1).max())
    for color, angle in zip(_COLORS, np.radians(angles), strict=False):
        v = np.array([np.cos(angle), np.sin(angle)])
        projections = x @ v  # N
        feet = projections[:, None] * v  # N 2
        left.plot(*np.outer(v, (-radius, radius)), color=color, linewidth=1)
        left.annotate("", radius * v, 0.9 * radius * v, arrowprops={"arrowstyle": "->", "color": color})
        for point, foot in zip(x, feet, strict=True):
            left.plot(*zip(point, foot, strict=True), color=color, linewidth=0.6, linestyle=":")
        left.plot(*feet.T, "o", color=color, markersize=4)
        b = np.linspace(-radius, radius, 201)
        right.plot(b, _sum_of_relus(projections, b), color=color)
        right.plot(-projections, _sum_of_relus(projections, -projections), "o", color=color, markersize=4)
    left.plot(*x.T, "ko", markersize=5)
    left.set(aspect="equal", title="a set and its projections $v^T x_i$")
    left.set_axis_off()
    right.set(title="aggregated", xlabel="bias $b$", ylabel=r"$\sum_i\,\mathrm{ReLU}(v^T x_i + b)$")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def remark1_figure(lines: Sequence[Line]) -> Figure:
    """Draws the distance of a power-mean SAN from max pooling against p.

    Args:
        lines: of ``results/theory.jsonl``; those of other experiments are left out.
    """
    figure = Figure((5, 3.6), layout="constrained")
    axes = figure.subplots()
    found = _differences(lines)
    for p, differences in found:
        axes.plot([p] * len(differences), differences, "o", color=_COLORS[0], alpha=0.4, markersize=4)
    axes.plot([p for p, _ in found], [median(each) for _, each in found], color=_COLORS[0], label="median over seeds")
    axes.set(xscale="log", yscale="log", xlabel="$p$", ylabel="mean distance from the maximum")
    axes.set_title("Remark 1: power-mean SAN tends to max pooling", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def theorem1_figure(lines: Sequence[Line]) -> Figure:
    """Draws how well sets are found again, given their embedding, against its size M.

    A panel for each number N of elements and K of features, M in parts of the NK unknown numbers, a dot for each seed,
    lines through the medians. Full dots are sets whose embedding is the given one; hollow dots are searches that
    failed.

    Args:
        lines: of ``results/theory.jsonl``; those of other experiments are left out.
    """
    found = [line for line in lines if line["settings"]["experiment"] == "theorem1"]
    columns = sorted({line["settings"]["elements"] for line in found}) or [0]
    rows = sorted({line["settings"]["features"] for line in found}) or [0]
    figure = Figure((1 + 2.8 * len(columns), 1 + 2.3 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    for features, panels_of_row in zip(rows, panels, strict=True):
        for elements, axes in zip(columns, panels_of_row, strict=True):
            sizes = {"elements": elements, "features": features}
            _draw_searches(axes, [line for line in found if sizes.items() <= line["settings"].items()])
            axes.set_title(f"N = {elements}, K = {features}", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("$M / NK$")
    for axes in panels[:, 0]:
        axes.set_ylabel("matching error")
    handles = [
        *(
            Line2D([], [], color=color, marker="o", markersize=4, label=label)
            for color, label in zip(_COLORS, _NAMES.values(), strict=True)
        ),
        Line2D(
            [], [], color="grey", marker="o", linestyle="", markerfacecolor="white", markersize=4, label="search failed"
        ),
    ]
    figure.legend(handles=handles, ncols=4, fontsize=8, frameon=False, loc="outside lower center")
    figure.suptitle("Theorem 1: sets found again from their embedding", fontsize=10)
    return figure


def _draw_searches(axes: Axes, lines: Sequence[Line]) -> None:
    for color, aggregator in zip(_COLORS, _NAMES, strict=True):
        own = [line for line in lines if line["settings"]["aggregator"] == aggregator]
        medians = []
        for size, group in _grouped(own, "size"):
            unknowns = group[0]["settings"]["elements"] * group[0]["settings"]["features"]
            errors = [max(line["measured"]["error"], _FLOOR) for line in group]
            fill = [color if line["measured"]["residual"] <= _MET else "white" for line in group]
            axes.scatter(
                [size / unknowns] * len(errors), errors, s=12, c=fill, edgecolors=color, linewidths=0.7, zorder=3
            )
            medians.append((size / unknowns, median(errors)))
        if medians:
            axes.plot(*zip(*medians, strict=True), color=color, linewidth=1.2)
    axes.set(yscale="log")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)


def _differences(lines: Sequence[Line]) -> list[tuple[float, list[float]]]:
    found = [line for line in lines if line["settings"]["experiment"] == "remark1"]
    return [(p, [line["measured"]["difference"] for line in group]) for p, group in _grouped(found, "p")]


def _grouped(lines: Sequence[Line], name: str) -> list[tuple[float, list[Line]]]:
    """The lines by a setting, which rises."""

    def key(line: Line) -> float:
        return line["settings"][name]

    return [(value, list(group)) for value, group in groupby(sorted(lines, key=key), key)]


def _sum_of_relus(projections: Float[NDArray[np.float64], "N"], b: Float[NDArray[np.float64], "n"]) -> Any:
    return np.maximum(projections[:, None] + b, 0).sum(0)
