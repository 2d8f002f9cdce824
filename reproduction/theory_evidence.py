"""What the verdict on the claim about theory rests on, as tables."""

from reproduction import theory_claim
from reproduction.evidence import Evidence, places_in_short
from reproduction.reading import Results
from reproduction.tables import Table
from reproduction.verdict import Outcome, Verdict


def theory_evidence(results: Results) -> list[Evidence]:
    """Theorem 1 and Remark 1.

    Args:
        results: all lines.
    """
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
    )
    return [
        _judged(recovered, theory_claim.theorem1(found), bool(found)),
        _judged(limits, theory_claim.remark1(seeds), bool(seeds)),
    ]


def _end(p: float, difference: float) -> tuple[str, str]:
    return f"{p:g}", f"{difference:.1e}"


def _judged(table: Table, verdict: Verdict, is_run: bool) -> Evidence:
    outcomes = {
        Verdict.SUPPORTED: Outcome.IN_FAVOUR,
        Verdict.CONTRADICTED: Outcome.AGAINST,
        Verdict.UNDECIDED: Outcome.OPEN if is_run else Outcome.NOT_RUN,
    }
    return Evidence(table.title, "as said above", verdict, [outcomes[verdict]], table)
