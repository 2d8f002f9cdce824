"""What the verdict on a part of a claim rests on, as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from reproduction.tables import NOTHING, Table, interval
from reproduction.verdict import Finding, JudgedPart, Outcome, Verdict


@dataclass(frozen=True)
class Evidence:
    """What a part of a claim rests on.

    Args:
        name: what the part says.
        rule: how its verdict follows.
        verdict: on the part.
        outcomes: of its cells.
        table: the cells.
    """

    name: str
    rule: str
    verdict: Verdict
    outcomes: Sequence[Outcome]
    table: Table


def evidence(judged: JudgedPart, unit: str, factor: int) -> Evidence:
    """The evidence of a part that was judged by its cells.

    Args:
        judged: the part.
        unit: of the differences, as they are written.
        factor: how many of them are one.
    """
    header = ("cell", "seeds", "n", f"difference, {unit}", "tested against", "p", "p, Holm", "finding", "runs")
    rows = tuple(_row(finding, factor) for finding in judged.findings)
    outcomes = [finding.outcome for finding in judged.findings]
    name, rule = judged.part.name, judged.part.rule
    words = f"{rule}, almost" if judged.part.exceptions else rule
    return Evidence(name, words, judged.verdict, outcomes, Table(name, header, rows, 2))


def _row(finding: Finding, factor: int) -> tuple[str, ...]:
    measured = finding.contrast
    return (
        measured.name,
        _spans(measured.values) or NOTHING,
        str(len(measured.values)),
        interval(measured, factor, 2, "+"),
        f"{factor * measured.null:z.1f}",
        *(
            NOTHING if p is None else "< 0.0001" if p < 0.0001 else f"{p:.4f}"
            for p in (finding.p_value, finding.corrected)
        ),
        finding.outcome.value,
        places_in_short(measured.places) or NOTHING,
    )


def places_in_short(places: Iterable[str]) -> str:
    """Lines of files, those that follow one another together.

    Args:
        places: such as ``"table2:3"``.

    Example:
        >>> places_in_short(["table2:3", "table2:1", "table2:2", "table2:7", "dropout:1"])
        'dropout:1, table2:1-3, 7'
    """
    found = sorted({(file, int(number)) for file, number in (place.rsplit(":", 1) for place in places)})
    files = groupby(found, lambda place: place[0])
    return ", ".join(f"{file}:{_spans([number for _, number in lines])}" for file, lines in files)


def _spans(numbers: Iterable[int]) -> str:
    """Rising numbers, those that follow one another together."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)
