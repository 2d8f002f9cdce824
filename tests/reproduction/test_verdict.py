"""The rule of the verdicts, on results whose truth is known."""

import numpy as np
import pytest

from reproduction import verdict
from reproduction.contrast import MARGIN, Contrast
from reproduction.verdict import ALPHA, Outcome, Part, Verdict, conjunction, judge

FAVOUR, AGAINST, OPEN, NOT_RUN = Outcome.IN_FAVOUR, Outcome.AGAINST, Outcome.OPEN, Outcome.NOT_RUN
SUPPORTED, CONTRADICTED, UNDECIDED = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
VALUES = {FAVOUR: (9, 10, 11), AGAINST: (-9, -10, -11), OPEN: (-1, 0, 1), NOT_RUN: ()}
NUM_SIMULATIONS = 1500


def part(rule, outcomes, exceptions=0.0):
    values = [dict(enumerate(VALUES[outcome])) for outcome in outcomes]
    return Part("", rule, [Contrast("", each, None, ()) for each in values], exceptions)


@pytest.mark.parametrize(
    ("rule", "outcomes", "expected"),
    [
        ("most", [FAVOUR, FAVOUR, OPEN], SUPPORTED),
        ("most", [FAVOUR, OPEN], UNDECIDED),
        ("most", [FAVOUR, NOT_RUN, NOT_RUN], UNDECIDED),
        ("most", [FAVOUR, FAVOUR, AGAINST], UNDECIDED),
        ("most", [AGAINST, AGAINST, OPEN], CONTRADICTED),
        ("most", [AGAINST, AGAINST, FAVOUR], UNDECIDED),
        ("most", [OPEN], UNDECIDED),
        ("most", [NOT_RUN], UNDECIDED),
        ("any", [FAVOUR, AGAINST, NOT_RUN], SUPPORTED),
        ("any", [AGAINST, OPEN], UNDECIDED),
        ("any", [AGAINST, NOT_RUN], UNDECIDED),
        ("any", [AGAINST, AGAINST], CONTRADICTED),
        ("all", [FAVOUR, FAVOUR], SUPPORTED),
        ("all", [FAVOUR, OPEN], UNDECIDED),
        ("all", [FAVOUR, NOT_RUN], UNDECIDED),
        ("all", [FAVOUR, AGAINST], CONTRADICTED),
    ],
)
def test_rules(rule, outcomes, expected):
    (judged,) = judge([part(rule, outcomes)])
    assert [finding.outcome for finding in judged.findings] == outcomes
    assert judged.verdict == expected


def test_almost_lets_a_tenth_be_otherwise():
    outcomes = [FAVOUR] * 9 + [AGAINST]
    (almost,), (more,) = judge([part("most", outcomes, 0.1)]), judge([part("most", [*outcomes, AGAINST], 0.1)])
    assert (almost.verdict, more.verdict) == (SUPPORTED, UNDECIDED)


def test_all_cells_of_a_claim_are_corrected_together():
    alone, beside = judge([part("all", [FAVOUR])]), judge([part("all", [FAVOUR]), part("most", [OPEN] * 3 + [NOT_RUN])])
    assert alone[0].findings[0].corrected == alone[0].findings[0].p_value
    assert beside[0].findings[0].corrected == pytest.approx(4 * alone[0].findings[0].p_value)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, UNDECIDED], UNDECIDED),
        ([UNDECIDED, CONTRADICTED], CONTRADICTED),
    ],
)
def test_a_claim_is_all_of_its_parts(verdicts, expected):
    assert conjunction(verdicts) == expected


def cells(noise, num, seeds, effect, spread=0.006):
    """Differences of cells to one that all of them share, as SAN's is."""
    shared = noise.normal(0, spread, seeds)
    differences = effect + shared - noise.normal(0, spread, (num, seeds))
    return [Contrast("", dict(enumerate(each)), None, ()) for each in differences.tolist()]


@pytest.mark.parametrize(("num", "seeds"), [(1, 3), (12, 2), (12, 5)])
def test_without_an_effect_few_claims_have_a_cell_that_is_not_open(num, seeds):
    noise = np.random.default_rng(0)
    judged = [judge([Part("", "any", cells(noise, num, seeds, 0.0))])[0] for _ in range(NUM_SIMULATIONS)]
    wrong = np.mean([any(finding.outcome != OPEN for finding in each.findings) for each in judged])
    assert wrong <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / NUM_SIMULATIONS) ** 0.5
    assert np.mean([each.verdict != UNDECIDED for each in judged]) <= wrong


def test_the_rate_is_used_where_there_is_one_cell():
    """What keeps the rate low is not that nothing is ever found."""
    noise = np.random.default_rng(1)
    judged = [judge([Part("", "all", cells(noise, 1, 5, 0.0))])[0] for _ in range(NUM_SIMULATIONS)]
    assert np.mean([each.verdict != UNDECIDED for each in judged]) == pytest.approx(ALPHA, abs=0.017)


@pytest.mark.parametrize(("effect", "expected"), [(0.04, SUPPORTED), (-0.04, CONTRADICTED)])
def test_an_effect_of_four_points_is_found_with_five_seeds(effect, expected):
    noise = np.random.default_rng(2)
    judged = [judge([Part("", "most", cells(noise, 6, 5, effect))])[0] for _ in range(200)]
    assert np.mean([each.verdict == expected for each in judged]) > 0.9


def test_of_single_seeds_small_differences_decide_nothing():
    noise = np.random.default_rng(3)
    for _ in range(100):
        values = noise.uniform(-MARGIN, MARGIN, 3)
        singles = [Contrast("", {0: value}, 1e-6, ()) for value in values.tolist()]
        (judged,) = judge([Part("", "any", singles)])
        assert {finding.outcome for finding in judged.findings} == {OPEN}


def test_the_rule_says_the_numbers_of_the_code():
    assert f"larger than {100 * MARGIN:g} points" in verdict.__doc__.replace("\n", " ")
    assert f"at most {ALPHA}" in verdict.__doc__.replace("\n", " ")
    assert f"below {2.0 ** (1 - 5)} with five seeds" in verdict.__doc__.replace("\n", " ")
