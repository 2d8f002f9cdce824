"""Figure and HTML page of many runs; the figure is laid out as the paper's Figures 3 and 4."""

import itertools
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from set_aggregation.reports.comparison import Comparison, Row
from set_aggregation.reports.curves import GAP, TEST, TRAIN, common_epochs, draw_panel
from set_aggregation.reports.finished_run import Run
from set_aggregation.reports.rendering import page, svg

_DRAWN = "Accuracy on training images (blue) and test images (red) in evaluation mode, and the gap between them (grey)."
_LAST = "Above each panel: gap and test accuracy after the last epoch"

# Lengths are inches from the upper left corner: a layout engine takes seconds for sixty panels.
_PANELS = {1: (4.0, 2.7), 2: (2.9, 2.0)}  # width and height for up to this many rows and columns; otherwise:
_SMALL_PANEL = (2.1, 1.45)
_MARGIN, _LABEL, _TICKS, _RIGHT = 0.15, 1.6, 0.55, 0.2  # beside the panels
_HEADING, _NUMBERS, _FOOT = 0.55, 0.26, 0.5  # above and below those of a data set, and above each
_SPACE = 0.14
_LEGEND, _LINE = 0.3, 0.15
_LETTER = 0.06  # of the small text
_MOST_LINES = 8  # of settings beside a row


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw accuracy against epochs: a row for each data set and aggregator, a column for each width."""
    blocks = [list(block) for _, block in itertools.groupby(comparison.rows, key=lambda row: row.data)]
    num_columns = len(comparison.widths)
    panel = _PANELS.get(max(num_columns, len(comparison.rows)), _SMALL_PANEL)
    width = _LABEL + _TICKS + num_columns * (panel[0] + _SPACE) - _SPACE + _RIGHT
    lines = textwrap.wrap(_note(comparison), int((width - 2 * _MARGIN) / _LETTER))
    heights = [_HEADING + len(block) * (_NUMBERS + panel[1]) + _FOOT for block in blocks]
    sheet = _Sheet(figsize=(width, sum(heights) + _LEGEND + len(lines) * _LINE + _MARGIN))
    top = 0.0
    for block, height in zip(blocks, heights, strict=True):
        _draw_block(sheet, top, panel, block, comparison)
        top += height
    curves = [Line2D([], [], color=color, label=label) for color, label in ((TRAIN, "train"), (TEST, "test"))]
    style = {"ncols": 3, "fontsize": 8, "frameon": False, "borderaxespad": 0, "borderpad": 0}
    handles, corner = [*curves, Patch(color=GAP, label="gap")], sheet.place(_MARGIN, top)[:2]
    sheet.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, **style)
    sheet.write(_MARGIN, top + _LEGEND, "\n".join(lines), fontsize=7, color="0.35", va="top")
    return sheet


class _Sheet(Figure):
    """A figure measured in inches from its upper left corner."""

    def place(self, x: float, y: float, width: float = 0, height: float = 0) -> tuple[float, float, float, float]:
        """Return a rectangle in matplotlib's coordinates."""
        all_width, all_height = self.get_size_inches().tolist()
        return x / all_width, 1 - (y + height) / all_height, width / all_width, height / all_height

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text; a dollar does not start a formula."""
        self.text(*self.place(x, y)[:2], text, parse_math=False, **style)


def _draw_block(
    sheet: _Sheet, top: float, panel: tuple[float, float], rows: Sequence[Row], comparison: Comparison
) -> None:
    """Draw the rows of a data set."""
    panels: dict[tuple[int, int], Axes] = {}
    lefts = [_LABEL + _TICKS + column * (panel[0] + _SPACE) for column in range(len(comparison.widths))]
    sheet.write(_MARGIN, top + 0.28, rows[0].data, fontsize=11, weight="bold")
    for left, width in zip(lefts, comparison.widths, strict=True):
        sheet.write(left + panel[0] / 2, top + 0.55, f"width {width}", fontsize=9.5, ha="center")
    for i, row in enumerate(rows):
        y = top + _HEADING + i * (_NUMBERS + panel[1]) + _NUMBERS
        middle = y + panel[1] / 2
        sheet.write(_MARGIN, middle, textwrap.fill(row.aggregator, 18), fontsize=9.5)
        sheet.write(_MARGIN, middle + 0.05, _wrapped(row.differences), fontsize=7, color="0.35", va="top")
        for j, (left, width) in enumerate(zip(lefts, comparison.widths, strict=True)):
            if runs := row.cells.get(width):
                shared = next(iter(panels.values()), None)
                panels[i, j] = axes = sheet.add_axes(sheet.place(left, y, *panel), sharex=shared, sharey=shared)
                draw_panel(axes, [run.history for run in runs], validation=False)
                axes.set_title(_panel_numbers(runs, comparison.has_seeds), fontsize=7.5, pad=3)
            else:
                sheet.write(left + panel[0] / 2, middle, "no run", fontsize=8, color="0.65", ha="center")
    for (i, j), axes in panels.items():
        is_left, is_low = (i, j) == min(p for p in panels if p[0] == i), (i, j) == max(p for p in panels if p[1] == j)
        axes.tick_params(labelsize=7, labelleft=is_left, labelbottom=is_low)
        axes.set_ylabel("accuracy" if is_left else "", fontsize=8)
        axes.set_xlabel("epoch" if is_low else "", fontsize=8)


def _wrapped(settings: Sequence[str]) -> str:
    """Return settings on one or two lines each, cut to the available width."""
    columns = int(_LABEL / _LETTER)
    lines = [line for text in settings for line in textwrap.wrap(text, columns, max_lines=2, placeholder="…")]
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


def comparison_page(comparison: Comparison, folder: Path) -> bytes:
    """Return figure, table of runs and skipped folders as HTML, the same bytes for the same runs."""
    return page(
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
