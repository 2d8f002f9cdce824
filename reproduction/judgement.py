"""The verdicts on all eight claims."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from reproduction import theory_claim
from reproduction.cells import Group, groups
from reproduction.claims import ON_ACCURACY
from reproduction.evidence import Evidence, evidence
from reproduction.published import CLAIMS
from reproduction.reading import FinishedRun, Results
from reproduction.tables import NOT_RUN, NOTHING, Table
from reproduction.theory_evidence import theory_evidence
from reproduction.verdict import Outcome, Verdict, conjunction, judge

_THEORY = 8
_UNITS = {4: ("epochs", 1)}  # of the differences; of the other claims:
_POINTS = ("points", 100)
_NO_GROUP = Group("paper", 0)  # in which nothing is run


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
    for number in ON_ACCURACY:
        found = [Judgement(number, group, _judged(number, results.runs, group)) for group in groups(results.runs)]
        judged += [each for each in found if each.is_run] or [Judgement(number, None, _judged(number, (), _NO_GROUP))]
    return [*judged, Judgement(_THEORY, None, theory_evidence(results))]


def verdict_table(judged: Sequence[Judgement]) -> Table:
    """A row for each judgement.

    Args:
        judged: by :func:`judgements`.
    """
    rows = []
    for each in judged:
        group = (NOTHING, NOTHING) if each.group is None else (each.group.preset, str(each.group.epochs))
        counts = (str(each.count(outcome)) for outcome in Outcome)
        rows.append((str(each.number), each.claim, *group, _in_words(each), *counts))
    header = ("", "claim", "preset", "epochs", "verdict", *(f"cells {outcome.value}" for outcome in Outcome))
    return Table("Verdicts", header, tuple(rows), 5)


def _in_words(judged: Judgement) -> str:
    parts = [each.verdict for each in judged.evidence]
    supported = parts.count(Verdict.SUPPORTED)
    if not judged.is_run:
        return f"{judged.verdict.value} ({NOT_RUN})"
    if judged.verdict == Verdict.UNDECIDED and supported:
        return f"{judged.verdict.value} ({supported} of {len(parts)} parts supported)"
    return judged.verdict.value


def what_is_compared(number: int) -> str:
    """What the cells of a claim are.

    Args:
        number: of the claim.
    """
    text = (theory_claim.__doc__ if number == _THEORY else inspect.getdoc(ON_ACCURACY[number])) or ""
    if number == _THEORY:
        return " ".join(text.split("\n\n", 1)[-1].split())
    return " ".join(text.split("\n\n")[0].split()).split(". ", 1)[-1]


def _judged(number: int, runs: Sequence[FinishedRun], group: Group) -> list[Evidence]:
    parts = judge(ON_ACCURACY[number](runs, group))
    return [evidence(part, *_UNITS.get(number, _POINTS)) for part in parts]
