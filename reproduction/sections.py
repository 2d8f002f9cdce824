"""The chapters of the report, before they become Markdown or a page."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from reproduction import verdict
from reproduction.cells import Group, cell, experiments, groups
from reproduction.figures import FIGURES, learning_curves
from reproduction.judgement import Judgement, verdict_table, what_is_compared
from reproduction.overview import overview
from reproduction.pooling_report import READING, pooling_figure, pooling_groups, pooling_tables
from reproduction.published import CLAIMS, DATA
from reproduction.reading import FinishedRun, Measurement, Results
from reproduction.tables import NOT_RUN, NOTHING, SINGLE, Table, paper_tables
from reproduction.theory_claim import limits, recoveries
from reproduction.theory_figures import figure2, remark1_figure, theorem1_figure
from set_aggregation.reports.comparison_figure import comparison_figure

NO_RESULTS = "No results yet: `python -m reproduction run table2` makes some."
_READING = (
    "± is half of a 95 % interval: Student's t over the n seeds, where there are two or more. "
    f"{SINGLE} stands where there is one: the interval is that of the test images (binomial; 5,000, or 10,000 of the "
    "official split) and knows nothing of other seeds. The paper's numbers are single runs on 5,000 test images, of "
    "which the same interval is ± 0.012 at an accuracy of 0.75 and ± 0.008 at 0.91.",
    "Accuracy is that of the weights that are best on the validation set, beside that of the last epoch. Runs of "
    "different presets or numbers of epochs are never averaged. Differences in the tables are ours less the paper's.",
    "All of this is made of the lines of `*.jsonl` in this folder, by `python -m reproduction report`. This "
    "text is the same on every machine; of the pictures another version of matplotlib makes other bytes.",
)


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Args:
        file: name of its PNG.
        caption: what it shows.
        draw: makes it.
    """

    file: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Section:
    """A chapter.

    Args:
        title: of it.
        level: 2 of a chapter, 3 of one inside a chapter.
        paragraphs: text.
        tables: behind the text.
        pictures: behind the tables.
    """

    title: str
    level: int = 2
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def sections(results: Results, judged: Sequence[Judgement]) -> list[Section]:
    """The whole report.

    Args:
        results: all lines.
        judged: the claims.
    """
    runs = results.runs
    is_empty = not runs and not results.measurements
    chapters = [
        Section("Summary", 2, [NO_RESULTS] if is_empty else _others(runs), summary_tables(results, judged)),
        Section("How to read this", 2, _READING),
    ]
    for group in groups(runs):
        tables = paper_tables(runs, group)
        missing = [table.title.split(":")[0] for table in tables if not table.rows]
        if len(missing) < len(tables):
            text = [f"Not run: {'; '.join(missing)}."] if missing else []
            done = [table for table in tables if table.rows]
            chapters.append(Section(group.title.capitalize(), 2, text, done, _pictures(runs, group)))
    chapters += _pooling_chapters(results)
    rule = (verdict.__doc__ or "").split("\n\n")
    chapters.append(Section("The claims", 2, [" ".join(text.split()) for text in rule]))
    for number, claim in enumerate(CLAIMS, start=1):
        chapters.append(
            Section(f"{number}. {claim}", 3, [what_is_compared(number)], pictures=_theory_pictures(results, number))
        )
        chapters += [_evidence(each) for each in judged if each.number == number]
    return [*chapters, Section("Machines and versions", tables=[environments(results)])]


def summary_tables(results: Results, judged: Sequence[Judgement]) -> list[Table]:
    """What the report says, in brief: accuracies, verdicts, and how much is run.

    Args:
        results: all lines.
        judged: the claims.
    """
    return [overview(results.runs), verdict_table(judged), _cells_run(results)]


def _pooling_chapters(results: Results) -> list[Section]:
    chapters = []
    for group in pooling_groups(results.runs):
        title = f"Which pooling, {group.title}"
        file = f"pooling_{group.preset}_{group.epochs}.png"
        picture = Picture(file, f"{title}: mean and 95 % interval.", partial(pooling_figure, results, group))
        chapters.append(Section(title, 2, [READING], pooling_tables(results, group), [picture]))
    return chapters


def _evidence(judged: Judgement) -> Section:
    where = judged.group.title if judged.group else "theory" if judged.is_run else NOT_RUN
    tables = []
    for each in judged.evidence:
        title = f"{each.name} ({each.rule}): {each.verdict.value}"
        is_told = any(outcome != verdict.Outcome.NOT_RUN for outcome in each.outcomes)
        tables.append(
            Table(title, each.table.header, each.table.rows, each.table.num_labels)
            if is_told
            else Table(title, (), (), note="Not run.")
        )
    return Section(f"Claim {judged.number}, {where}: {judged.verdict.value}", 4, tables=tables)


def _cells_run(results: Results) -> Table:
    """How much of each table is there."""
    rows: list[tuple[str, ...]] = []
    names = list(experiments((), Group("paper", 0)))
    for name in names:
        found = []
        for group in groups(results.runs):
            cells = [cell(results.runs, group, wanted) for wanted in experiments(results.runs, group)[name]]
            seeds = [len(each) for each in cells if each]
            if seeds:
                low, high = min(seeds), max(seeds)
                span = str(low) if low == high else f"{low} to {high}"
                found.append(
                    (name, group.preset, str(group.epochs), f"{len(seeds)} of {len(cells)}", str(sum(seeds)), span)
                )
        rows += found or [(name, NOTHING, NOTHING, NOT_RUN, "0", NOTHING)]
    counts = Counter(line.settings["experiment"] for line in results.measurements)
    for name, title in (("theorem1", "Theorem 1"), ("remark1", "Remark 1")):
        rows.append((title, NOTHING, NOTHING, NOTHING if counts[name] else NOT_RUN, str(counts[name]), NOTHING))
    return Table("What is run", ("experiment", "preset", "epochs", "cells", "runs", "seeds a cell"), tuple(rows), 2)


def _others(runs: Sequence[FinishedRun]) -> list[str]:
    """Says how many runs stand in no table."""
    told = {
        run.place
        for group in groups(runs)
        for wanted_ones in experiments(runs, group).values()
        for wanted in wanted_ones
        for run in cell(runs, group, wanted).values()
    }
    others = [run for run in runs if run.place not in told]
    return [f"Runs that stand in none of these tables: {len(others)}."] if others else []


def _pictures(runs: Sequence[FinishedRun], group: Group) -> list[Picture]:
    pictures = []
    for data, title in FIGURES.items():
        comparison = learning_curves(runs, group, data)
        if comparison.rows:
            file = f"{title.replace(' ', '').lower()}_{group.preset}_{group.epochs}.png"
            caption = f"{title}, drawn again: learning curves on {DATA[data]}, {group.title}."
            pictures.append(Picture(file, caption, partial(comparison_figure, comparison)))
    return pictures


def _theory_pictures(results: Results, number: int) -> list[Picture]:
    if number != len(CLAIMS):
        return []
    lines = [{"settings": line.settings, "measured": line.measured} for line in results.measurements]
    pictures = [Picture("figure2.png", "Figure 2, drawn again: what SAN knows of a set by a few directions.", figure2)]
    if recoveries(results.measurements):
        caption = "Theorem 1: matching error of sets found from their embedding."
        pictures.append(Picture("theorem1.png", caption, partial(theorem1_figure, lines)))
    if limits(results.measurements):
        caption = "Remark 1: the difference between power-mean SAN and max-pooling."
        pictures.append(Picture("remark1.png", caption, partial(remark1_figure, lines)))
    return pictures if results.measurements else []


def environments(results: Results) -> Table:
    """Where and with what runs were made.

    Args:
        results: their lines.
    """
    names = ("commit", "devices", "system", "versions")
    seconds: dict[tuple[str, ...], list[float]] = {}
    lines: list[FinishedRun | Measurement] = [*results.runs, *results.measurements]
    for line in lines:
        seconds.setdefault(tuple(line.environment.get(name, NOTHING) for name in names), []).append(line.seconds)
    rows = [(*kind, str(len(times)), f"{math.fsum(times) / 3600:.1f}") for kind, times in sorted(seconds.items())]
    note = "" if rows else "Not run."
    return Table("Where the runs were made", (*names, "runs", "hours"), tuple(rows), 4, note)
