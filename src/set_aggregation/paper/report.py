"""The report on the paper's experiments, made from ``results/*.jsonl``: ``REPORT.md``, ``report.html``, pictures."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from set_aggregation.learning_curves.figure import as_file
from set_aggregation.paper.judgement import judgements, verdict_table
from set_aggregation.paper.reading import Results, read
from set_aggregation.paper.sections import NO_RESULTS, Section, cells_run, sections

START, END = "<!-- paper summary -->", "<!-- end of paper summary -->"


def write_report(results_dir: Path) -> Path:
    """Writes the report into the folder of the results, and its summary between the marks of the README beside that
    folder, where it has such.

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
            "python -m set_aggregation.paper run makes it"
        )
    results = read(results_dir)
    chapters = sections(results, judgements(results))
    for picture in (each for chapter in chapters for each in chapter.pictures):
        _write(results_dir / picture.file, as_file(picture.draw, "png"))
    _write(results_dir / "report.html", page(chapters).encode())
    _write(results_dir / "REPORT.md", markdown(chapters).encode())
    readme = results_dir.absolute().parent / "README.md"
    if readme.is_file() and START in (text := readme.read_text(encoding="utf-8")):
        _write(readme, with_summary(text, summary(results)).encode())
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
    """What the README shows: verdicts and how much is run.

    Args:
        results: all lines.
    """
    if not results.runs and not results.measurements:
        return NO_RESULTS
    tables = [verdict_table(judgements(results)), cells_run(results)]
    template = _environment(False).get_template("summary.md.jinja")
    return template.render(tables=tables)


def with_summary(readme: str, text: str) -> str:
    """A README with another summary between its marks.

    Args:
        readme: its text.
        text: the summary.

    Raises:
        ValueError: it lacks the second mark.

    Example:
        >>> with_summary(f"a {START} old {END} b", "new").replace(START, "[").replace(END, "]").split()
        ['a', '[', 'new', ']', 'b']
    """
    before, _, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"got a README.md with {START} alone, expected {END} behind it; write it there")
    return f"{before}{START}\n\n{text.strip()}\n\n{END}{after}"


def _environment(is_page: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("set_aggregation.paper", "."),
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
