"""The comparison of all aggregators at equal parameters: a table and a figure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.claims import Interval, t_interval
from reproduction.paper_numbers import DATA
from reproduction.records import Results
from reproduction.run_spec import aggregator_config
from reproduction.tables import NOT_RUN, Table, measured

_PANELS = [(data, train_sizes) for data in DATA for train_sizes in ("", "all")]
_NOTE = (
    "The small network of the paper's Table 1, trained on 10,000 images in batches of 64 for {epochs} epochs "
    "({steps:,} steps). All have the parameters of SAN with M = 1024 behind the backbone, 78,858, to 1.1 %: "
    "aggregators without a free output size are followed by a hidden dense layer with a ReLU. Cells are test accuracy "
    "± half a 95 % interval over (n) seeds, with several sizes the mean over them; a single number is one seed. Step: "
    "time of a training step on one size, CIFAR-10, relative to average pooling."
)


def pooling_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the comparison with the number of epochs that most of them have."""
    runs = runs[runs["overrides"].str.contains("num_train") & (runs["preset"] == "paper")]
    return runs if runs.empty else runs[runs["epochs"] == runs["epochs"].mode().max()]


def pooling_table(results: Results) -> Table | None:
    """Return a row for each aggregator, the best on CIFAR-10 first; None without runs."""
    runs, ratios = pooling_runs(results.runs), _ratios(results.measurements, "cifar10", "")
    if runs.empty:
        return None
    scores = runs.pivot_table(
        values="score", index="aggregator", columns=["data", "train_sizes"], aggfunc=["mean", measured]
    )
    texts = scores["measured"].reindex(columns=pd.MultiIndex.from_tuples(_PANELS)).astype(object).fillna(NOT_RUN)
    rows = [
        (_class(name), f"{ratios[name]:.2f}" if name in ratios else NOT_RUN, *texts.loc[name])
        for name in scores["mean"].sort_values(_PANELS[0], ascending=False).index
    ]
    epochs = int(runs["epochs"].iloc[0])
    header = ("aggregator", "step", *(_title(*panel) for panel in _PANELS))
    note = _NOTE.format(epochs=epochs, steps=epochs * math.ceil(10_000 / 64))
    return Table("All aggregators at equal parameters", note, header, rows)


def pooling_figure(results: Results) -> Figure:
    """Draw validation accuracy at equal epochs and in the time of average pooling, with 95 % intervals over seeds."""
    runs = pooling_runs(results.runs)
    figure = Figure((11, 9), layout="constrained")
    for axes, (data, train_sizes) in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        own = runs[(runs["data"] == data) & (runs["train_sizes"] == train_sizes)]
        _draw(axes, own, _ratios(results.measurements, data, train_sizes))
        axes.set_title(_title(data, train_sizes), fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def accuracy_after(epochs: float, curves: Sequence[Mapping[str, float]]) -> float:
    """Return the validation accuracy after a number of epochs, interpolated; NaN before the first."""
    points = {row["epoch"]: row["val_accuracy"] for row in curves}
    return float(np.interp(epochs, [*points], [*points.values()], left=math.nan, right=math.nan))


def _draw(axes: Axes, runs: pd.DataFrame, ratios: Mapping[str, float]) -> None:
    worst_first = list(runs.groupby("aggregator")["score"].mean().sort_values().index)
    for shift, label, color in ((0.12, "equal epochs", "#0072B2"), (-0.12, "equal time", "#D55E00")):  # Okabe and Ito
        intervals = []
        for name in worst_first:
            slower = max(ratios.get(name, 1.0), 1.0) if label == "equal time" else 1.0
            own = runs[runs["aggregator"] == name].itertuples()
            intervals.append(t_interval(accuracy_after(run.epochs / slower, run.curves) for run in own))
        found = pd.DataFrame(intervals, columns=Interval._fields)  # NaN, which is not drawn, before the first epoch
        style: dict[str, Any] = {"fmt": "o", "markersize": 4, "linewidth": 1, "color": color, "label": label}
        axes.errorbar(found["mean"], found.index + shift, xerr=found["half_width"].fillna(0), **style)
    axes.set_yticks(range(len(worst_first)), [_class(name) for name in worst_first], fontsize=8)
    axes.set_xlabel("validation accuracy", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="0.9")


def _ratios(measurements: pd.DataFrame, data: str, train_sizes: str) -> dict[str, float]:
    wanted = {"experiment": "pooling_time", "data": data, "train_sizes": train_sizes}
    lines = measurements[(measurements[[*wanted]] == [*wanted.values()]).all(axis=1)]
    return dict(zip(lines["aggregator"], lines["ratio"], strict=True))


def _class(name: str) -> str:
    return str(aggregator_config(name)["class_path"])


def _title(data: str, train_sizes: str) -> str:
    return f"{DATA[data]}, {'several sizes' if train_sizes else 'one size'}"
