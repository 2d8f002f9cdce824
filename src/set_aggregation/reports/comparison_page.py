"""A self-contained HTML page of many runs."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from set_aggregation.reports.comparison import Comparison
from set_aggregation.reports.comparison_figure import comparison_figure
from set_aggregation.reports.finished_run import Run
from set_aggregation.reports.rendering import page, svg


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
