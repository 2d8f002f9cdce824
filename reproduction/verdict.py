"""Each claim has parts, and each part cells: contrasts that are in favour of it where they lie above what they are
tested against. A cell is a mean over the seeds that all of its runs have. With two seeds or more it is tested by a
paired t test over the seeds. (The exact sign-flip test cannot fall below 0.0625 with five seeds, so it would never
find anything; it is used only where all differences are equal, of which t is not defined.) A single seed is tested by
the two-proportion test, which knows the noise of the test images only and nothing of that between seeds: it counts
only where the difference is larger than 1.5 points, and an epoch of one seed never counts.

The p-values of all cells of a claim are corrected together by Holm's method. A cell is in favour or against where the
corrected two-sided p-value is at most 0.05, and open otherwise. A cell without runs is open.

A part is judged by one of three rules. "Most": supported where more than half of its cells are in favour and none is
against, contradicted where more than half are against and none is in favour; a part that says "almost" lets a tenth
of its cells pass as exceptions. "Any": supported where one cell is in favour, contradicted where all are against.
"All": supported where all cells are in favour, contradicted where one is against. What is neither is undecided.

A claim is supported where all of its parts are, contradicted where one of them is, and undecided otherwise. "The
same" and "comparable" mean within 1.5 points. The test images are the same for all seeds, so that a verdict holds for
these images; claims are not corrected for one another, nor for several presets and numbers of epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from reproduction.contrast import Contrast
from reproduction.statistics import holm

ALPHA = 0.05


class Verdict(StrEnum):
    """What is said of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


class Outcome(StrEnum):
    """What is said of a cell."""

    IN_FAVOUR = "in favour"
    AGAINST = "against"
    OPEN = "open"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Part:
    """One of the things that a claim says.

    Args:
        name: what it says.
        rule: how it follows from its cells.
        contrasts: the cells.
        exceptions: share of the cells that may be otherwise under the rule ``"most"``.
    """

    name: str
    rule: Literal["most", "any", "all"]
    contrasts: Sequence[Contrast]
    exceptions: float = 0.0


@dataclass(frozen=True)
class Finding:
    """What came out of a cell.

    Args:
        contrast: the cell.
        p_value: of its test; None where it was not run.
        corrected: the same, corrected for the number of cells.
        outcome: what that says.
    """

    contrast: Contrast
    p_value: float | None
    corrected: float | None
    outcome: Outcome


@dataclass(frozen=True)
class JudgedPart:
    """A part, and what came out of it.

    Args:
        part: what was judged.
        findings: of its cells.
        verdict: what follows.
    """

    part: Part
    findings: Sequence[Finding]
    verdict: Verdict


def judge(parts: Sequence[Part]) -> list[JudgedPart]:
    """Tests the cells of a claim, corrects for their number, and judges each part.

    Args:
        parts: all of the claim.

    Example:
        >>> better = Contrast("", {0: 0.02, 1: 0.021, 2: 0.019}, None, ())
        >>> [judged.verdict.value for judged in judge([Part("is better", "all", [better])])]
        ['supported']
    """
    run = [each for part in parts for each in part.contrasts if each.values]
    p_values = [each.p_value for each in run]
    corrected = {id(each): (p, q) for each, p, q in zip(run, p_values, holm(p_values), strict=True)}
    judged = []
    for part in parts:
        findings = [_finding(each, *corrected.get(id(each), (None, None))) for each in part.contrasts]
        judged.append(JudgedPart(part, findings, _follows(part, [finding.outcome for finding in findings])))
    return judged


def conjunction(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim whose parts have these.

    Args:
        verdicts: one of each part.
    """
    if Verdict.CONTRADICTED in verdicts:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.SUPPORTED


def _finding(contrast: Contrast, p_value: float | None, corrected: float | None) -> Finding:
    if p_value is None or corrected is None:
        return Finding(contrast, None, None, Outcome.NOT_RUN)
    if corrected > ALPHA:
        return Finding(contrast, p_value, corrected, Outcome.OPEN)
    return Finding(
        contrast, p_value, corrected, Outcome.IN_FAVOUR if contrast.mean > contrast.null else Outcome.AGAINST
    )


def _follows(part: Part, outcomes: Sequence[Outcome]) -> Verdict:
    num, favour, against = len(outcomes), outcomes.count(Outcome.IN_FAVOUR), outcomes.count(Outcome.AGAINST)
    supported, contradicted = {
        "most": (
            2 * favour > num and against <= part.exceptions * num,
            2 * against > num and favour <= part.exceptions * num,
        ),
        "any": (favour > 0, against == num),
        "all": (favour == num, against > 0),
    }[part.rule]
    return Verdict.SUPPORTED if supported else Verdict.CONTRADICTED if contradicted else Verdict.UNDECIDED
