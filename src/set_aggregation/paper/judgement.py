"""The verdicts on all eight claims, with the evidence for each as a table."""

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from set_aggregation.paper import theory_claim
from set_aggregation.paper.cells import Group, groups
from set_aggregation.paper.claims import ON_ACCURACY
from set_aggregation.paper.published import CLAIMS
from set_aggregation.paper.reading import Results
from set_aggregation.paper.tables import NOT_RUN, NOTHING, Table, interval
from set_aggregation.paper.verdict import Finding, JudgedPart, Outcome, Verdict, conjunction, judge

_THEORY = 8
_UNITS = {4: ("epochs", 1)}  # of the differences; of the other claims:
_POINTS = ("points", 100)


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


@dataclass(frozen=True)
class Judgement:
    """A claim judged by runs that may be compared.

    Args:
        number: of the claim.
        group: preset and epochs; None of a claim on theory, and where nothing was run.
        evidence: of its parts.
    """

    number: int
    group: Group | None
    evidence: Sequence[Evidence]

    @property
    def claim(self) -> str:
        """In words."""
        return CLAIMS[self.number - 1]

    @property
    def verdict(self) -> Verdict:
        """On the claim."""
        return conjunction([each.verdict for each in self.evidence])

    @property
    def is_run(self) -> bool:
        """Whether it rests on anything."""
        return any(outcome != Outcome.NOT_RUN for each in self.evidence for outcome in each.outcomes)

    def count(self, outcome: Outcome) -> int:
        """How many of its cells came out so.

        Args:
            outcome: to count.
        """
        return sum(list(each.outcomes).count(outcome) for each in self.evidence)


def judgements(results: Results) -> list[Judgement]:
    """Each claim in each preset and number of epochs that has runs for it; at least one of each claim.

    Args:
        results: all lines.
    """
    judged = []
    nothing = Group("paper", 0)
    for number, parts_of in ON_ACCURACY.items():
        found = []
        for group in groups(results.runs):
            parts = judge(parts_of(results.runs, group))
            found.append(Judgement(number, group, [_evidence(number, part) for part in parts]))
        if not any(each.is_run for each in found):
            parts = judge(parts_of((), nothing))
            found = [Judgement(number, None, [_evidence(number, part) for part in parts])]
        judged += [each for each in found if each.is_run or each.group is None]
    return [*judged, Judgement(_THEORY, None, _theory(results))]


def verdict_table(judged: Sequence[Judgement]) -> Table:
    """A row for each judgement.

    Args:
        judged: by :func:`judgements`.
    """
    rows = []
    for each in judged:
        group = (NOTHING, NOTHING) if each.group is None else (each.group.preset, str(each.group.epochs))
        verdict = each.verdict.value if each.is_run else f"{each.verdict.value} ({NOT_RUN})"
        rows.append((str(each.number), each.claim, *group, verdict, *(str(each.count(outcome)) for outcome in Outcome)))
    header = ("", "claim", "preset", "epochs", "verdict", *(f"cells {outcome.value}" for outcome in Outcome))
    return Table("Verdicts", header, tuple(rows), 5)


def what_is_compared(number: int) -> str:
    """What the cells of a claim are.

    Args:
        number: of the claim.
    """
    text = (theory_claim.__doc__ if number == _THEORY else inspect.getdoc(ON_ACCURACY[number])) or ""
    if number == _THEORY:
        return " ".join(text.split("\n\n", 1)[-1].split())
    return " ".join(text.split("\n\n")[0].split()).split(". ", 1)[-1]


def _evidence(number: int, judged: JudgedPart) -> Evidence:
    unit, factor = _UNITS.get(number, _POINTS)
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
        places_in_short([f":{seed}" for seed in measured.values]) or NOTHING,
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
    texts = []
    for file, lines in groupby(found, lambda place: place[0]):
        numbers = [number for _, number in lines]
        starts = [i for i, number in enumerate(numbers) if i == 0 or number != numbers[i - 1] + 1]
        ends = [*(i - 1 for i in starts[1:]), len(numbers) - 1]
        spans = [(numbers[i], numbers[j]) for i, j in zip(starts, ends, strict=True)]
        text = ", ".join(str(i) if i == j else f"{i}-{j}" for i, j in spans)
        texts.append(f"{file}:{text}" if file else text)
    return ", ".join(texts)


def _theory(results: Results) -> list[Evidence]:
    found = theory_claim.recoveries(results.measurements)
    recovered = Table(
        "Theorem 1: a set is found again from its embedding",
        ("elements", "features", "embedding", "M", "n", "found", "other sets", "median error", "lines"),
        tuple(
            (
                *(str(each.elements), str(each.features), each.aggregator, str(each.size), str(len(each.errors))),
                *(str(each.num_found), str(each.num_other_sets), f"{each.median_error:.1e}"),
                places_in_short(each.places),
            )
            for each in found
        ),
        0,
        "" if found else "Not run.",
    )
    seeds = theory_claim.limits(results.measurements)
    limits = Table(
        "Remark 1: power-mean SAN approaches max",
        ("seed", "smallest p", "difference", "largest p", "difference", "lines"),
        tuple(
            (
                str(seed),
                *(
                    text
                    for end in (0, -1)
                    for text in _end(lines[end].settings["p"], lines[end].measured["difference"])
                ),
                places_in_short([line.place for line in lines]),
            )
            for seed, lines in seeds.items()
        ),
        0,
        "" if seeds else "Not run.",
    )
    return [
        _judged_theory(recovered, theory_claim.theorem1(found), bool(found)),
        _judged_theory(limits, theory_claim.remark1(seeds), bool(seeds)),
    ]


def _end(p: float, difference: float) -> tuple[str, str]:
    return f"{p:g}", f"{difference:.1e}"


def _judged_theory(table: Table, verdict: Verdict, is_run: bool) -> Evidence:
    outcomes = {
        Verdict.SUPPORTED: Outcome.IN_FAVOUR,
        Verdict.CONTRADICTED: Outcome.AGAINST,
        Verdict.UNDECIDED: Outcome.OPEN if is_run else Outcome.NOT_RUN,
    }
    return Evidence(table.title, "as said above", verdict, [outcomes[verdict]], table)
