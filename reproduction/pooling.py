"""The comparison of all aggregators at equal parameters: a table and a figure."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.paper_numbers import DATA
from reproduction.run_spec import aggregator_config
from reproduction.statistics import t_interval
from reproduction.tables import NOT_RUN, Table, measured

_PANELS = [(data, train_sizes) for data in DATA for train_sizes in ("", "all")]
_COLORS = {"equal epochs": "#0072B2", "equal time": "#D55E00"}  # of Okabe and Ito
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


def pooling_table(runs: pd.DataFrame, measurements: pd.DataFrame) -> Table:
    """Return a row for each aggregator, the best on CIFAR-10 first."""
    cells = {key: list(group["score"]) for key, group in runs.groupby(["aggregator", "data", "train_sizes"])}
    ratios = _ratios(measurements, "cifar10", "")
    best_first = sorted(set(runs["aggregator"]), key=lambda name: -t_interval(cells.get((name, *_PANELS[0]), [0])).mean)
    rows = [
        (
            _class(name),
            f"{ratios[name]:.2f}" if name in ratios else NOT_RUN,
            *(measured(cells.get((name, *panel), [])) for panel in _PANELS),
        )
        for name in best_first
    ]
    epochs = int(runs["epochs"].iloc[0])
    header = ("aggregator", "step", *(_title(panel) for panel in _PANELS))
    note = _NOTE.format(epochs=epochs, steps=epochs * math.ceil(10_000 / 64))
    return Table("All aggregators at equal parameters", note, header, rows)


def pooling_figure(runs: pd.DataFrame, measurements: pd.DataFrame) -> Figure:
    """Draw validation accuracy at equal epochs and in the time of average pooling, with 95 % intervals over seeds."""
    figure = Figure((11, 9), layout="constrained")
    for axes, panel in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        own = runs[(runs["data"] == panel[0]) & (runs["train_sizes"] == panel[1])]
        _draw(axes, own, _ratios(measurements, *panel))
        axes.set_title(_title(panel), fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def accuracy_after(epochs: float, curves: Sequence[Mapping[str, float]]) -> float:
    """Return the validation accuracy after a number of epochs, interpolated; NaN before the first."""
    points = {row["epoch"]: row["val_accuracy"] for row in curves if "val_accuracy" in row}
    before, after = math.floor(epochs), math.ceil(epochs)
    if not {before, after} <= points.keys():
        return math.nan
    return points[before] + (epochs - before) * (points[after] - points[before])


def _draw(axes: Axes, runs: pd.DataFrame, ratios: Mapping[str, float]) -> None:
    worst_first = list(runs.groupby("aggregator")["score"].mean().sort_values().index)
    for shift, label in ((0.12, "equal epochs"), (-0.12, "equal time")):
        for position, name in enumerate(worst_first):
            slower = max(ratios.get(name, 1.0), 1.0) if label == "equal time" else 1.0
            own = runs[runs["aggregator"] == name]
            values = [accuracy_after(run.epochs / slower, run.curves) for run in own.itertuples()]
            if any(math.isnan(value) for value in values):
                continue  # less than an epoch
            interval = t_interval(values)
            axes.errorbar(
                interval.mean,
                position + shift,
                xerr=interval.half_width if interval.number > 1 else 0.0,
                fmt="o",
                markersize=4,
                linewidth=1,
                color=_COLORS[label],
                label=label if position == len(worst_first) - 1 else None,
            )
    axes.set_yticks(range(len(worst_first)), [_class(name) for name in worst_first], fontsize=8)
    axes.set_xlabel("validation accuracy", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="0.9")


def _ratios(measurements: pd.DataFrame, data: str, train_sizes: str) -> dict[str, float]:
    lines = measurements[(measurements["experiment"] == "pooling_time") & (measurements["data"] == data)]
    lines = lines[lines["train_sizes"].fillna("") == train_sizes]
    return dict(zip(lines["aggregator"], lines["ratio"], strict=True))


def _class(name: str) -> str:
    return str(aggregator_config(name)["class_path"])


def _title(panel: tuple[str, str]) -> str:
    data, train_sizes = panel
    return f"{DATA[data]}, {'several sizes' if train_sizes else 'one size'}"
