"""The report on the paper's experiments, made from ``results/*.jsonl``: ``REPORT.md``, ``report.html``, pictures."""

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reproduction.judgement import judgements
from reproduction.pooling_report import (
    READING,
    pooling_figure,
    pooling_groups,
    pooling_results,
    pooling_tables,
)
from reproduction.reading import Results, read
from reproduction.sections import NO_RESULTS, Section, environments, sections, summary_tables
from set_aggregation.reports.comparison_figure import as_file

START, END = "<!-- paper summary -->", "<!-- end of paper summary -->"
POOLING_START, POOLING_END = "<!-- comparison of poolings -->", "<!-- end of comparison of poolings -->"

_POOLING_PICTURE = "pooling.png"


def write_report(results_dir: Path) -> Path:
    """Writes the report into the folder of the results. Beside that folder it writes the summary between the marks of
    ``README.md`` and the comparison of poolings between those of ``docs/pooling.md``, where there are such.

    ``REPORT.md`` is the same, byte for byte, for the same lines. The pictures, and ``report.html``, which has them
    inside, are so with the same version of matplotlib only.

    Args:
        results_dir: the folder of the results.

    Returns:
        The file ``REPORT.md``.

    Raises:
        ValueError: a line cannot be used, or there is no such folder.
    """
    if not results_dir.is_dir():
        raise ValueError(
            f"got {results_dir}, which is no folder; expected that of the results, as "
            "python -m reproduction run makes it"
        )
    results = read(results_dir)
    chapters = sections(results, judgements(results))
    for picture in (each for chapter in chapters for each in chapter.pictures):
        _write(results_dir / picture.file, as_file(picture.draw, "png"))
    _write(results_dir / "report.html", page(chapters).encode())
    _write(results_dir / "REPORT.md", markdown(chapters).encode())
    project = results_dir.absolute().parent
    _write_between(project / "README.md", (START, END), summary(results))
    if _write_between(project / "docs" / "pooling.md", (POOLING_START, POOLING_END), comparison(results)):
        for group in pooling_groups(results.runs)[:1]:
            draw = partial(pooling_figure, results, group)
            _write(project / "docs" / _POOLING_PICTURE, as_file(draw, "png"))
    return results_dir / "REPORT.md"


def markdown(chapters: list[Section]) -> str:
    """The report as Markdown.

    Args:
        chapters: all.
    """
    return _environment(False).get_template("report.md.jinja").render(sections=chapters)


def page(chapters: list[Section]) -> str:
    """The report as a page, which needs nothing but itself to be read.

    Args:
        chapters: all.
    """
    drawings: Mapping[str, Markup] = {
        picture.file: _drawing(as_file(picture.draw, "svg")) for chapter in chapters for picture in chapter.pictures
    }
    return _environment(True).get_template("report.html.jinja").render(sections=chapters, drawings=drawings)


def summary(results: Results) -> str:
    """What the README shows: accuracies, verdicts, and how much is run.

    Args:
        results: all lines.
    """
    if not results.runs and not results.measurements:
        return NO_RESULTS
    template = _environment(False).get_template("summary.md.jinja")
    return template.render(tables=summary_tables(results, judgements(results)))


def comparison(results: Results) -> str:
    """What the page on poolings shows: of the preset and number of epochs with most runs.

    Args:
        results: all lines.
    """
    groups = pooling_groups(results.runs)
    if not groups:
        return "Not run yet: `python -m reproduction run pooling` makes it."
    of_it = pooling_results(results, groups[0])
    return (
        _environment(False)
        .get_template("pooling.md.jinja")
        .render(
            reading=READING,
            seeds=sorted({run.seed for run in of_it.runs}),
            epochs=groups[0].epochs,
            picture=_POOLING_PICTURE,
            tables=[*pooling_tables(results, groups[0]), environments(of_it)],
        )
    )


def between(page: str, marks: tuple[str, str], text: str) -> str:
    """A page with another text between its marks.

    Args:
        page: its text.
        marks: the first and the second one.
        text: to stand between them.

    Raises:
        ValueError: it lacks the second mark.

    Example:
        >>> between("a [ old ] b", ("[", "]"), "new").split()
        ['a', '[', 'new', ']', 'b']
    """
    start, end = marks
    before, _, rest = page.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"got a page with {start} alone, expected {end} behind it; write it there")
    return f"{before}{start}\n\n{text.strip()}\n\n{end}{after}"


def _write_between(file: Path, marks: tuple[str, str], text: str) -> bool:
    """Writes where there are marks, and says whether there are."""
    there = file.is_file() and marks[0] in (page := file.read_text(encoding="utf-8"))
    if there:
        _write(file, between(page, marks, text).encode())
    return there


def _environment(is_page: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("reproduction"),
        autoescape=is_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _as_cell, "prose": _as_prose}
    return environment


def _as_cell(text: str) -> str:
    """A text inside a table of Markdown."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _as_prose(text: str) -> Markup:
    """A paragraph of Markdown, which has nothing but code in it, on a page."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _drawing(svg: bytes) -> Markup:
    text = svg.decode()
    return Markup(text[text.index("<svg") :])  # matplotlib has escaped the names in it


def _write(file: Path, content: bytes) -> None:
    """Writes at once: a reader finds all of it or what was there before."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, file)  # noqa: PTH105
    finally:
        unfinished.unlink(missing_ok=True)
