"""The report on the paper's experiments: ``results/REPORT.md``, its figures, and the summaries in README and docs."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from reproduction import claims, tables
from reproduction.figures import FIGURES, curves_of, learning_curves, summary_figure, theory_figure
from reproduction.paper_numbers import DATA
from reproduction.pooling import pooling_figure, pooling_runs, pooling_table
from reproduction.records import Results, read
from set_aggregation.reports.rendering import as_file, render
from set_aggregation.runs.files import atomic_write

_NO_RESULTS = "No results yet: `python -m reproduction run table2` makes some."
_render = partial(render, "reproduction")
Figures = dict[str, tuple[str, Callable[[], Figure]]]


def write_report(results: Path) -> Path:
    """Write the report and its figures into the folder of results, and the summaries into README and docs."""
    if not results.is_dir():
        raise ValueError(f"got no folder {results}; python -m reproduction run makes it")
    lines, project = read(results), results.absolute().parent
    drawn = figures(lines)
    for file, (_, draw) in drawn.items():
        _write(results / file, as_file(draw, "png", dpi=100))
    _write(results / "REPORT.md", report(lines, drawn).encode())
    _write_between(project / "README.md", "paper summary", summary(lines, "summary.png" in drawn))
    table = pooling_table(lines)
    page = project / "docs" / "pooling.md"
    if _write_between(page, "comparison of poolings", _render("pooling.md.jinja", table=table)) and table:
        _write(page.with_name("pooling.png"), (results / "pooling.png").read_bytes())
    return results / "REPORT.md"


def report(results: Results, figures: Figures) -> str:
    """Return the report as Markdown."""
    runs, measurements = results.runs, results.measurements
    if runs.empty and measurements.empty:
        return f"# The paper's experiments, reproduced\n\n{_NO_RESULTS}\n"
    return _render(
        "report.md.jinja",
        verdicts=tables.verdicts(claims.judge(runs, measurements)),
        rule="\n".join((claims.__doc__ or "").splitlines()[2:]),
        tables=tables.paper_tables(runs),
        figures=figures,
        theory=tables.theory_table(measurements) if "theory.png" in figures else None,
        pooling=pooling_table(results),
        environments=tables.environments(runs, measurements),
    )


def summary(results: Results, has_figure: bool) -> str:
    """Return the summary for the README: a row for each claim, and one figure."""
    if results.runs.empty and results.measurements.empty:
        return _NO_RESULTS
    texts: dict[str, list[str]] = {}
    for each in claims.judge(results.runs, results.measurements):
        of_epochs = f"{each.verdict} ({each.epochs} epochs)" if each.epochs else each.verdict
        texts.setdefault(f"{each.number}. {each.claim}", []).append(of_epochs if each.num_runs else "not run")
    rows = [(claim, "; ".join(verdicts)) for claim, verdicts in texts.items()]
    return _render("summary.md.jinja", table=tables.Table("", "", ("claim", "verdict"), rows), has_figure=has_figure)


def figures(results: Results) -> Figures:
    """Return caption (of learning curves) and drawing function of each figure, by file."""
    found: Figures = {}
    for (preset, epochs), group in curves_of(results.runs).groupby(["preset", "epochs"]):
        for data, figure in FIGURES.items():
            if data in set(group["data"]):
                file = f"{figure.replace(' ', '').lower()}_{preset}_{epochs}.png"
                caption = f"{figure}: learning curves on {DATA[data]}, preset {preset}, {epochs} epochs"
                found[file] = caption, partial(learning_curves, group, data)
    if (summary_drawing := summary_figure(results.runs)) is not None:
        found["summary.png"] = "", lambda: summary_drawing
    if {"theorem1", "remark1"} <= set(results.measurements["experiment"]):
        found["theory.png"] = "", partial(theory_figure, results.measurements)
    if len(pooling_runs(results.runs)):
        found["pooling.png"] = "", partial(pooling_figure, results)
    return found


def _write_between(file: Path, name: str, text: str) -> bool:
    """Write between the marks of a page, and return whether it has marks."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = file.read_text(encoding="utf-8") if file.is_file() else ""
    page, number = re.subn(f"{start}.*{end}", lambda _: f"{start}\n\n{text.strip()}\n\n{end}", page, flags=re.DOTALL)
    if number:
        _write(file, page.encode())
    elif start in page:
        raise ValueError(f"got {file} with {start} alone, expected {end} after it")
    return bool(number)


def _write(file: Path, content: bytes) -> None:
    with atomic_write(file) as temporary:
        temporary.write_bytes(content)
