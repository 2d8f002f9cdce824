"""Figure and HTML page of many runs; the figure is laid out as the paper's Figures 3 and 4."""

import itertools
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from set_aggregation.reports.comparison import Comparison, Row
from set_aggregation.reports.curves import GAP, TEST, TRAIN, common_epochs, draw_panel
from set_aggregation.reports.finished_run import Run
from set_aggregation.reports.rendering import render, svg

_DRAWN = "Accuracy on training images (blue) and test images (red) in evaluation mode, and the gap between them (grey)."
_LAST = "Above each panel: gap and test accuracy after the last epoch"

_PANELS = {1: (4.0, 3.0), 2: (2.9, 2.3)}  # inches, for up to this many rows and columns; otherwise:
_SMALL_PANEL = (2.2, 1.75)
_LETTERS = 26  # in a line beside a row
_MOST_LINES = 9


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw accuracy against epochs: a row for each data set and aggregator, a column for each width."""
    blocks = [list(block) for _, block in itertools.groupby(comparison.rows, key=lambda row: row.data)]
    num_rows, num_columns = len(comparison.rows), len(comparison.widths)
    width, height = _PANELS.get(max(num_rows, num_columns), _SMALL_PANEL)
    size = 1.6 + num_columns * width, 0.8 + 0.6 * len(blocks) + num_rows * height
    figure = Figure(figsize=size, layout="constrained")
    sheets = figure.subfigures(
        len(blocks), squeeze=False, height_ratios=[0.6 + len(block) * height for block in blocks]
    )
    for block, (sheet,) in zip(blocks, sheets, strict=True):
        sheet.suptitle(block[0].data, x=0.01, ha="left", fontsize=11, weight="bold", parse_math=False)
        _draw_block(sheet.subplots(len(block), num_columns, squeeze=False, sharex=True, sharey=True), block, comparison)
    curves = [Line2D([], [], color=color, label=label) for color, label in ((TRAIN, "train"), (TEST, "test"))]
    handles = [*curves, Patch(color=GAP, label="gap")]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    caption = textwrap.fill(_note(comparison), int(16 * size[0]))
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=7, color="0.35")
    return figure


def _draw_block(panels: NDArray[Any], rows: Sequence[Row], comparison: Comparison) -> None:
    """Draw the rows of a data set."""
    for row, line in zip(rows, panels, strict=True):
        line[0].set_ylabel(_label(row, rows), rotation=0, ha="right", va="center", fontsize=8, parse_math=False)
        for width, axes in zip(comparison.widths, line, strict=True):
            text = "no run"
            if runs := row.cells.get(width):
                draw_panel(axes, [run.history for run in runs], validation=False)
                text = _panel_numbers(runs, comparison.has_seeds)
            axes.set_title(f"width {width}\n{text}" if row is rows[0] else text, fontsize=8)
            axes.tick_params(labelsize=7)
    for axes in panels[-1]:
        axes.set_xlabel("epoch", fontsize=8)


def _label(row: Row, rows: Sequence[Row]) -> str:
    """Return aggregator and settings, the rarest first, start and end of long ones, cut to the height of a panel."""
    others = [text for each in rows if each.aggregator == row.aggregator for text in each.differences]
    lines = []
    for text in (row.aggregator, *sorted(row.differences, key=others.count)):
        wrapped = textwrap.wrap(text, _LETTERS)
        lines += wrapped if len(wrapped) <= 2 else [wrapped[0], f"…{text[1 - _LETTERS :]}"]
    return "\n".join(lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "…"])


def _panel_numbers(runs: Sequence[Run], has_seeds: bool) -> str:
    """Return the title of a panel: mean gap and test accuracy over the seeds after the last epoch that all have."""
    text = "no epoch in common"
    if epochs := common_epochs([run.history for run in runs]):
        last = [row for run in runs for row in run.history if row["epoch"] == epochs[-1]]
        train, test = (fmean(row[f"curve/{part}_accuracy"] for row in last) for part in ("train", "test"))
        text = f"gap {train - test:.3f}, test {test:.3f}"
    return f"{text}, n = {len(runs)}{'*' if _is_cut(runs) else ''}" if has_seeds else text


def _note(comparison: Comparison) -> str:
    """Return the caption."""
    if not comparison.has_seeds:
        return f"{_DRAWN} {_LAST}. One run each."
    text = f"{_DRAWN} Lines: mean over n seeds; bands: lowest to highest. {_LAST}, means over the seeds."
    if any(_is_cut(runs) for row in comparison.rows for runs in row.cells.values()):
        text += " * The seeds were not measured after the same epochs; drawn are those that all have."
    return text


def _is_cut(runs: Sequence[Run]) -> bool:
    """Return whether some seeds have epochs that others lack."""
    return len({tuple(row["epoch"] for row in run.history) for run in runs}) > 1


def comparison_page(comparison: Comparison, folder: Path) -> str:
    """Return figure, table of runs and skipped folders as HTML, the same bytes for the same runs."""
    return render(
        "set_aggregation.reports",
        "comparison.html.jinja",
        runs="one run" if comparison.num_runs == 1 else f"{comparison.num_runs} runs",
        figure=svg(lambda: comparison_figure(comparison), "learning curves"),
        rows=[
            {"data": row.data, "label": row.label, "numbers": _numbers(run), **_folder(run.folder, folder)}
            for row in comparison.rows
            for run in row.runs
        ],
        skipped=[{"reason": each.reason, **_folder(each.folder, folder)} for each in comparison.skipped],
    )


def _numbers(run: Run) -> list[str]:
    train, test = (run.history[-1][f"curve/{part}_accuracy"] for part in ("train", "test"))
    return [
        *(str(number) for number in (run.width, run.seed, run.epochs)),
        *(f"{number:.4f}" for number in (train, test, train - test)),
        "-" if run.best_test is None else f"{run.best_test:.4f}",
        "-" if run.parameters is None else f"{run.parameters:,}",
    ]


def _folder(folder: Path, page_folder: Path) -> dict[str, Any]:
    """Return the path of a run relative to the page, and a link to its report if there is one."""
    path = Path(os.path.relpath(folder, page_folder)).as_posix()
    has_report = (folder / "report.html").is_file()
    return {"folder": path, "link": quote(f"{path}/report.html", errors="surrogateescape") if has_report else None}
