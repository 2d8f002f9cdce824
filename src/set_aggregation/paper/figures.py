"""The figures of the report, drawn from the lines of ``results/``: Figures 3 and 4 of the paper, and the theory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from set_aggregation.learning_curves.comparison import Comparison, Row
from set_aggregation.learning_curves.run import Run
from set_aggregation.paper.cells import Group, cell, one_size
from set_aggregation.paper.published import DATA, FLATTEN_ROW, NAMES, SIZES
from set_aggregation.paper.reading import FinishedRun, Measurement
from set_aggregation.paper.theory_claim import FOUND, Recovery

FIGURES = {"cifar10": "Figure 3", "fashion_mnist": "Figure 4"}
_ROWS = ("max", "conv1x1", "avg", "san", "flatten")
_EMBEDDINGS = {"san": ("tab:blue", "o"), "max": ("tab:red", "s"), "avg": ("0.35", "^")}
_SMALLEST = 1e-16  # of what is drawn on a logarithmic scale


def learning_curves(runs: Sequence[FinishedRun], group: Group, data: str) -> Comparison:
    """Training and test accuracy against epochs: a row for each aggregator that was run, a column for each size.

    Args:
        runs: all.
        group: preset and epochs.
        data: name of the data set.
    """
    rows = []
    for name in _ROWS:
        cells = {}
        for size in (FLATTEN_ROW,) if name == "flatten" else SIZES:
            measured = cell(runs, group, one_size(data, name, size)).values()
            if drawn := tuple(_as_run(run, size) for run in measured if run.curves):
                cells[size] = drawn
        if cells:
            rows.append(Row(DATA[data], NAMES[name], (), cells))
    return Comparison(tuple(rows), SIZES, ())


def _as_run(run: FinishedRun, size: int) -> Run:
    history = tuple(
        {name if name == "epoch" else f"curve/{name}": value for name, value in row.items()} for row in run.curves
    )
    settings = run.settings
    return Run(
        folder=Path(run.place),
        aggregator=settings["aggregator"],
        data=settings["data"],
        width=size,
        seed=run.seed,
        epochs=settings["epochs"],
        settings={},
        history=history,
        parameters=None,
        best_test=run.test_accuracy["best"],
        started=0,
    )


def recovery_figure(found: Sequence[Recovery]) -> Figure:
    """The matching error of sets that were searched for by their embedding, against M: Theorem 1.

    Dots are seeds, lines their medians.

    Args:
        found: by :func:`~.theory_claim.recoveries`, at least one.
    """
    kinds = sorted({(each.elements, each.features) for each in found})
    num_columns = min(3, len(kinds))
    num_rows = -(-len(kinds) // num_columns)
    figure = Figure(figsize=(3.2 * num_columns + 0.6, 2.6 * num_rows + 0.5), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, kind in zip(panels, kinds, strict=False):
        for name, (color, marker) in _EMBEDDINGS.items():
            line = [each for each in found if (each.elements, each.features) == kind and each.aggregator == name]
            dots = [(each.size, max(error, _SMALLEST)) for each in line for error in each.errors]
            axes.scatter(*zip(*dots, strict=True) if dots else ((), ()), s=8, color=color, alpha=0.4, linewidths=0)
            medians = [max(each.median_error, _SMALLEST) for each in line]
            axes.plot([each.size for each in line], medians, color=color, marker=marker, markersize=4, label=name)
        axes.axhline(FOUND, color="0.5", linestyle=":", linewidth=1)
        axes.set(xscale="log", yscale="log")
        sizes = sorted({each.size for each in found})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelbottom=True)  # also above a place that stays empty
        axes.set_title(f"{kind[0]} elements of {kind[1]} features", fontsize=9)
        axes.grid(alpha=0.3)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=8)
    figure.supxlabel("size M of the embedding", fontsize=9)
    figure.supylabel("matching error", fontsize=9)
    return figure


def limit_figure(found: Mapping[int, Sequence[Measurement]]) -> Figure:
    """The difference between power-mean SAN and max-pooling against p: Remark 1. A line for each seed.

    Args:
        found: by :func:`~.theory_claim.limits`, at least one seed.
    """
    figure = Figure(figsize=(4.4, 3), layout="constrained")
    axes = figure.subplots()
    for lines in found.values():
        differences = [max(line.measured["difference"], _SMALLEST) for line in lines]
        axes.plot(
            [line.settings["p"] for line in lines], differences, color="tab:blue", alpha=0.6, marker="o", markersize=3
        )
    axes.set(xscale="log", yscale="log", xlabel="p", ylabel="|power-mean SAN - max|")
    axes.grid(alpha=0.3)
    return figure
