"""Figures 3 and 4 of the paper: learning curves."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.claims import select
from reproduction.paper_numbers import DATA, FLATTEN_ROW, NAMES, TABLE2_SIZES

FIGURES = {"cifar10": "Figure 3", "fashion_mnist": "Figure 4"}
_ROWS = ("max", "conv1x1", "avg", "san", "flatten")
_TRAIN, _TEST, _GAP = "#0072B2", "#D55E00", "#DDDDDD"


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
