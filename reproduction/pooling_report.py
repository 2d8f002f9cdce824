"""The comparison of all aggregators, as tables and a figure."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.cells import Cell, Group, cell, groups, pooling
from reproduction.contrast import Contrast, Measure, accuracy, contrast, mean_over_sizes, val_accuracy_after
from reproduction.pooling import CLASSES
from reproduction.published import DATA
from reproduction.reading import FinishedRun, Results
from reproduction.tables import NOT_RUN, NOTHING, Table, interval

READING = (
    "The small network of the paper's Table 1, trained on 10,000 images in batches of 64, with each aggregator. All "
    "have the parameters of SAN with M = 1024 behind the backbone, 78,858, up to 1.1 %: those whose output has no "
    "free size are followed by a hidden dense layer with a ReLU. Test accuracy is that of the weights that are best on "
    "the validation set; of several sizes, the mean over the sizes. A step is a training step of the whole network on "
    "64 images, against that with average pooling, taken in turn. At equal time each network has the epochs that fit "
    "into the time of average pooling's; on the validation set, like the column before."
)
_HEADER = (
    "aggregator",
    "last dense layer",
    "parameters",
    "test accuracy",
    "n",
    "less SAN's, points",
    "step, x avg",
    "validation, equal epochs",
    "validation, equal time",
)
_TIME = "pooling_time"
_NO_VALUES = Contrast("", {}, None, ())
_COLORS = {"epochs": "#0072B2", "time": "#D55E00"}  # of Okabe and Ito


class _Row(NamedTuple):
    name: str
    size: int
    parameters: int
    test: Contrast
    less_san: Contrast
    ratio: float | None
    equal_epochs: Contrast
    equal_time: Contrast


def pooling_groups(runs: Sequence[FinishedRun]) -> list[Group]:
    """Those with runs of this comparison, the one with most of them first.

    Args:
        runs: all.
    """
    found = {group: len(_runs(runs, group)) for group in groups(runs)}
    return sorted((group for group in found if found[group]), key=lambda group: -found[group])


def pooling_results(results: Results, group: Group) -> Results:
    """The lines of this comparison.

    Args:
        results: all lines.
        group: preset and epochs.
    """
    times = tuple(line for line in results.measurements if line.settings["experiment"] == _TIME)
    return Results(_runs(results.runs, group), times)


def pooling_tables(results: Results, group: Group) -> list[Table]:
    """One for each data set and kind of images, the best aggregator first; without those that nothing was run of.

    Args:
        results: all lines.
        group: preset and epochs.
    """
    return [
        Table(title, _HEADER, tuple(_texts(row) for row in rows)) for title, rows in _panels(results, group) if rows
    ]


def pooling_figure(results: Results, group: Group) -> Figure:
    """Draws the accuracies, with the 95 % intervals over the seeds, of each aggregator.

    Args:
        results: all lines.
        group: preset and epochs.
    """
    panels = [(title, rows) for title, rows in _panels(results, group) if rows]
    figure = Figure((11, 0.8 + 4.2 * ((len(panels) + 1) // 2)), layout="constrained")
    axes = list(figure.subplots((len(panels) + 1) // 2, 2, squeeze=False).flat)
    for ax, (title, rows) in zip(axes, panels, strict=False):
        _draw(ax, title, rows)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw(ax: Axes, title: str, rows: Sequence[_Row]) -> None:
    worst_first = rows[::-1]
    for shift, key, label in ((0.12, "epochs", "equal epochs"), (-0.12, "time", "equal time")):
        found = [(i, row.equal_epochs if key == "epochs" else row.equal_time) for i, row in enumerate(worst_first)]
        found = [(i, each) for i, each in found if each.values]
        if found:
            ax.errorbar(
                [each.mean for _, each in found],
                [i + shift for i, _ in found],
                xerr=[each.half_width or 0.0 for _, each in found],
                fmt="o",
                markersize=4,
                linewidth=1,
                color=_COLORS[key],
                label=label,
            )
    ax.set_yticks(range(len(worst_first)), [row.name for row in worst_first], fontsize=8)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("validation accuracy", fontsize=8)
    ax.tick_params(axis="x", labelsize=8)
    ax.grid(axis="x", color="0.9")


def _runs(runs: Sequence[FinishedRun], group: Group) -> tuple[FinishedRun, ...]:
    return tuple(
        run
        for data in DATA
        for train_sizes in (None, "all")
        for wanted in pooling(data, train_sizes)
        for run in cell(runs, group, wanted).values()
    )


def _panels(results: Results, group: Group) -> list[tuple[str, list[_Row]]]:
    return [
        (f"{DATA[data]}, {words}", _rows(results, group, data, train_sizes))
        for data in DATA
        for train_sizes, words in ((None, "images of one size"), ("all", "images of several sizes"))
    ]


def _rows(results: Results, group: Group, data: str, train_sizes: str | None) -> list[_Row]:
    """Of the aggregators that were run, the best on the test set first."""
    measure: Measure = mean_over_sizes if train_sizes else accuracy()
    wanted_ones = pooling(data, train_sizes)
    cells = {wanted["aggregator"]: cell(results.runs, group, wanted) for wanted in wanted_ones}
    ratios = {
        line.settings["aggregator"]: line.measured["ratio"]
        for line in results.measurements
        if line.settings["experiment"] == _TIME
        and (line.settings["data"], line.settings["train_sizes"]) == (data, train_sizes)
    }
    rows = [
        _row(wanted["aggregator"], cells[wanted["aggregator"]], cells["san"], ratios, measure, group.epochs)
        for wanted in wanted_ones
        if cells[wanted["aggregator"]]
    ]
    return sorted(rows, key=lambda row: -row.test.mean)


def _row(name: str, runs: Cell, of_san: Cell, ratios: dict[str, float], measure: Measure, epochs: int) -> _Row:
    first = next(iter(runs.values()))
    ratio = ratios.get(name)
    mean = partial(contrast, "")
    return _Row(
        CLASSES[name],
        first.settings["size"],
        first.parameters["aggregator"] + first.parameters["head"],
        mean([(1, runs, measure)]),
        mean([(1, runs, measure), (-1, of_san, measure)]),
        ratio,
        mean([(1, runs, val_accuracy_after(epochs))]),
        _NO_VALUES if ratio is None else mean([(1, runs, val_accuracy_after(epochs / max(ratio, 1.0)))]),
    )


def _texts(row: _Row) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.size:,}",
        f"{row.parameters:,}",
        interval(row.test),
        str(len(row.test.values)),
        NOTHING if row.name == CLASSES["san"] else interval(row.less_san, 100, 2, "+"),
        NOT_RUN if row.ratio is None else f"{row.ratio:.2f}",
        interval(row.equal_epochs),
        "less than an epoch" if row.ratio and not row.equal_time.values else interval(row.equal_time),
    )
