"""Figures 3 and 4 of the paper, drawn again from the lines of ``results/``."""

from collections.abc import Sequence
from pathlib import Path

from reproduction.cells import Group, cell, one_size
from reproduction.published import DATA, FLATTEN_ROW, NAMES, SIZES
from reproduction.reading import FinishedRun
from set_aggregation.reports.comparison import Comparison, Row
from set_aggregation.reports.finished_run import Run

FIGURES = {"cifar10": "Figure 3", "fashion_mnist": "Figure 4"}
_ROWS = ("max", "conv1x1", "avg", "san", "flatten")


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
