"""Each claim on made-up results that it is true, false or unknown of."""

import numpy as np
import pytest

from reproduction.cells import Group
from reproduction.claims import ON_ACCURACY
from reproduction.contrast import TEST_IMAGES
from reproduction.judgement import judgements, verdict_table
from reproduction.published import CLAIMS, FLATTEN_ROW, SIZES
from reproduction.reading import read
from reproduction.verdict import Outcome, Verdict, conjunction, judge
from tests.support.paper_lines import FASHION_SIZES, everything, line, theory, write

SUPPORTED, CONTRADICTED, UNDECIDED = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
SEEDS = range(4)


@pytest.fixture
def judged(tmp_path):
    """The verdicts on a claim, by group."""

    def judged(number, lines):
        found = judgements(read(write(tmp_path / "results", lines)))
        return {each.group: each for each in found if each.number == number}

    return judged


def verdict(judged, number, lines):
    return judged(number, lines)[Group("paper", 3)].verdict


def near(value, seed):
    """A value with some noise of the seed, which two cells do not share."""
    return round(value + np.random.default_rng([seed, int(1e4 * value)]).normal(0, 0.002), 4)


def lines(aggregator, size=1024, accuracy=0.7, seeds=SEEDS, **more):
    return [line(aggregator, size, seed, near(accuracy, seed), **more) for seed in seeds]


def test_all_claims_are_found_true_where_all_effects_are_planted(tmp_path):
    found = judgements(read(write(tmp_path / "results", everything())))
    assert [(each.number, each.verdict) for each in found] == [(i, SUPPORTED) for i in range(1, 9)]
    assert [each.claim for each in found] == list(CLAIMS)


def test_nothing_run_is_undecided(judged):
    for number in range(1, 9):
        (only,) = judged(number, []).values()
        assert (only.verdict, only.is_run, only.group) == (UNDECIDED, False, None)


def test_the_table_says_how_many_parts_are_supported(tmp_path):
    # Ahead of average pooling at all sizes, of max-pooling at none.
    tops = {"san": 0.7, "avg": 0.6, "max": 0.7}
    ahead = [each for size in SIZES for name, top in tops.items() for each in lines(name, size, top)]
    rows = verdict_table(judgements(read(write(tmp_path / "results", ahead)))).rows
    assert [row[4] for row in rows] == [
        *("undecided (1 of 2 parts supported)", "undecided (not run)", "undecided"),
        *["undecided (not run)"] * 5,
    ]


def test_presets_and_epochs_have_verdicts_of_their_own(judged):
    good = [
        each
        for size in SIZES
        for name, top in (("san", 0.7), ("avg", 0.6), ("max", 0.6))
        for each in lines(name, size, top)
    ]
    bad = [
        each
        for size in SIZES
        for name, top in (("san", 0.6), ("avg", 0.7), ("max", 0.7))
        for each in lines(name, size, top, preset="code")
    ]
    few = lines("san", epochs=40) + lines("avg", accuracy=0.6, epochs=40)
    found = judged(1, good + bad + few)
    assert {group: each.verdict for group, each in found.items()} == {
        Group("paper", 3): SUPPORTED,
        Group("paper", 40): UNDECIDED,
        Group("code", 3): CONTRADICTED,
    }
    assert found[Group("paper", 40)].count(Outcome.IN_FAVOUR) == 1
    assert found[Group("paper", 40)].count(Outcome.NOT_RUN) == 11


@pytest.mark.parametrize(("accuracy", "expected"), [(0.905, SUPPORTED), (0.86, CONTRADICTED), (0.885, UNDECIDED)])
def test_2_as_accurate_is_within_the_margin(judged, accuracy, expected):
    data = {"data": "fashion_mnist"}
    flatten = lines("flatten", 128, 0.9, parameters=200_000, **data)
    sizes = [each for size in SIZES for each in lines("san", size, accuracy, **data)]
    assert verdict(judged, 2, flatten + sizes) == expected


def test_2_one_size_is_enough(judged):
    data = {"data": "fashion_mnist"}
    flatten = lines("flatten", 128, 0.9, parameters=200_000, **data)
    assert (
        verdict(judged, 2, flatten + lines("san", 2048, 0.9001, **data) + lines("san", 128, 0.8, **data)) == SUPPORTED
    )


def test_2_more_parameters_do_not_count(judged):
    data = {"data": "fashion_mnist"}
    flatten = lines("flatten", 128, 0.9, parameters=100, **data)
    sizes = [each for size in SIZES for each in lines("san", size, 0.95, **data)]
    found = judged(2, flatten + sizes)
    assert not any(each.is_run for each in found.values())


@pytest.mark.parametrize(
    ("max_gap", "conv_gap", "avg_train", "expected"),
    [(0.2, 0.2, 0.6, SUPPORTED), (0.01, 0.2, 0.6, CONTRADICTED), (0.2, 0.2, 0.9, CONTRADICTED)],
)
def test_3_gaps_and_training_accuracy(judged, max_gap, conv_gap, avg_train, expected):
    made = []
    for data in ("cifar10", "fashion_mnist"):
        for size in SIZES:
            for seed in SEEDS:
                more = {"data": data, "curve": [0.2, 0.5, near(0.7, seed)]}
                made.append(line("san", size, seed, gap=near(0.1, seed), **more))
                made.append(line("max", size, seed, gap=near(max_gap, seed), **more))
                made.append(line("conv1x1", size, seed, gap=near(conv_gap, seed), **more))
                made.append(
                    line("avg", size, seed, data=data, curve=[0.2, 0.5, near(avg_train - 0.01, seed)], gap=0.01)
                )
    assert verdict(judged, 3, made) == expected


def converging(aggregator, curve):
    return [
        line(aggregator, size, seed, data="fashion_mnist", curve=[near(each, seed) for each in curve])
        for size in SIZES
        for seed in SEEDS
    ]


@pytest.mark.parametrize(
    ("san", "avg", "expected", "level"),
    [
        ([0.85, 0.92, 0.93], [0.7, 0.8, 0.92], SUPPORTED, 90),
        ([0.85, 0.92, 0.93], [0.7, 0.8, 0.89], SUPPORTED, 90),  # which it never reaches
        ([0.7, 0.8, 0.92], [0.85, 0.92, 0.93], CONTRADICTED, 90),
        ([0.5, 0.75, 0.8], [0.4, 0.5, 0.735], SUPPORTED, 73),  # where none reaches 90 %
        ([0.7, 0.85, 0.95], [0.7, 0.85, 0.95], UNDECIDED, 90),
    ],
)
def test_4_epochs_to_a_level(judged, san, avg, expected, level):
    (found,) = judged(4, converging("san", san) + converging("avg", avg)).values()
    assert found.verdict == expected
    assert f"epochs of avg to {level} %" in found.evidence[0].table.rows[0][0]


def test_4_single_seeds_decide_nothing(judged):
    curves = {"san": [0.95, 0.95, 0.95], "avg": [0.1, 0.2, 0.3]}
    made = [line(name, size, curve=curve, data="fashion_mnist") for name, curve in curves.items() for size in SIZES]
    assert verdict(judged, 4, made) == UNDECIDED


@pytest.mark.parametrize(
    ("plain", "dropped", "expected"),
    [(0.72, 0.75, SUPPORTED), (0.72, 0.80, CONTRADICTED), (0.72, 0.73, CONTRADICTED), (0.75, 0.751, UNDECIDED)],
)
def test_5_comparable_is_within_the_margin_on_both_sides(judged, plain, dropped, expected):
    made = lines("flatten", 128, plain) + lines("flatten", 128, dropped, dropout=0.5) + lines("san", FLATTEN_ROW, 0.755)
    assert verdict(judged, 5, made) == expected


def several(leads, data=("cifar10", "fashion_mnist"), **more):
    return [
        each
        for name in data
        for train_sizes, lead in leads.items()
        for aggregator, top in (("san", 0.6 + lead), ("max", 0.6003), ("avg", 0.6006))
        for each in lines(aggregator, 1024, top, data=name, train_sizes=train_sizes, **more)
    ]


@pytest.mark.parametrize(
    ("leads", "expected"),
    [
        ({"all": 0.05, "original": 0.10}, SUPPORTED),
        ({"all": 0.05, "original": 0.05}, UNDECIDED),
        ({"all": 0.10, "original": 0.05}, CONTRADICTED),
        ({"all": -0.10, "original": -0.05}, CONTRADICTED),
    ],
)
def test_6_ahead_and_further_ahead(judged, leads, expected):
    assert verdict(judged, 6, several(leads)) == expected


def test_6_the_paper_s_exceptions_are_not_counted(judged):
    (found,) = judged(6, several({"all": 0.05, "original": 0.1})).values()
    names = [row[0] for row in found.evidence[0].table.rows]
    assert len(names) == 38
    assert "CIFAR-10, 32x32, trained on the original size only: SAN less avg" not in names
    assert "CIFAR-10, 32x32, trained on the original size only: SAN less max" in names
    assert "Fashion-MNIST, 42x42, trained on all sizes: SAN less avg" not in names


def test_6_sizes_that_the_paper_does_not_have_count(judged):
    sizes = dict.fromkeys(["12x12", *FASHION_SIZES[2:3]], 0.5)
    (found,) = judged(6, several({"all": 0.05}, ["fashion_mnist"], per_size=sizes)).values()
    names = [
        row[0]
        for row, outcome in zip(found.evidence[0].table.rows, found.evidence[0].outcomes, strict=True)
        if outcome != Outcome.NOT_RUN
    ]
    assert [name.split(",")[1].strip() for name in names] == ["12x12", "28x28"] * 2


def networks(**tops):
    return [
        each
        for name, top in tops.items()
        for each in lines(name, 64 if name == "original" else 4096, top, backbone="resnet56")
    ]


@pytest.mark.parametrize(
    ("original", "conv1x1", "expected"),
    [(0.90, 0.90, SUPPORTED), (0.94, 0.90, CONTRADICTED), (0.90, 0.94, UNDECIDED), (0.92, 0.90, UNDECIDED)],
)
def test_7_lower_error(judged, original, conv1x1, expected):
    assert verdict(judged, 7, networks(san=0.9201, avg=0.9, max=0.9, conv1x1=conv1x1, original=original)) == expected


def test_7_the_original_is_one_part_and_the_others_another(judged):
    (found,) = judged(7, networks(san=0.92, avg=0.9, original=0.9)).values()
    cells = [[row[0] for row in each.table.rows] for each in found.evidence]
    assert cells == [
        ["ResNet-56: SAN less original"],
        ["ResNet-56: SAN less avg", "ResNet-56: SAN less max", "ResNet-56: SAN less conv1x1"],
    ]


@pytest.mark.parametrize(("lead", "expected"), [(0.012, UNDECIDED), (0.05, SUPPORTED)])
def test_7_single_seeds_need_a_large_difference(judged, lead, expected):
    made = [
        line(
            name, 64 if name == "original" else 4096, accuracy=0.9 if name != "san" else 0.9 + lead, backbone="resnet56"
        )
        for name in ("original", "avg", "max", "conv1x1", "san")
    ]
    assert verdict(judged, 7, made) == expected


def test_7_equal_networks_have_a_false_verdict_as_rarely_as_is_said(tmp_path):
    """Noise of seeds and of test images, from the lines on."""
    noise = np.random.default_rng(0)
    num, group, names = 300, Group("paper", 3), ("original", "avg", "max", "conv1x1", "san")
    wrong = 0
    for _ in range(num):
        tops = np.clip(noise.normal(0.92, 0.004, (len(names), 3)), 0, 1)
        counts = noise.binomial(TEST_IMAGES["paper"], tops) / TEST_IMAGES["paper"]
        made = [
            line(name, 64 if name == "original" else 4096, seed, float(counts[i, seed]), backbone="resnet56", curve=[])
            for i, name in enumerate(names)
            for seed in range(3)
        ]
        runs = read(write(tmp_path / "results", made)).runs
        wrong += conjunction([each.verdict for each in judge(ON_ACCURACY[7](runs, group))]) != UNDECIDED
    assert wrong / num <= 0.05 + 3 * (0.05 * 0.95 / num) ** 0.5


def searches(error, residual=1e-9, aggregator="san", size=64, elements=2):
    settings = {"elements": elements, "features": 2, "aggregator": aggregator, "size": size}
    return [theory("theorem1", {"error": error, "residual": residual}, seed=seed, **settings) for seed in SEEDS]


def limit(first, last):
    return [
        theory("remark1", {"difference": value}, p=p, seed=seed)
        for seed in SEEDS
        for p, value in ((1, first), (900, last))
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (searches(1e-4) + searches(0.5, size=8) + searches(0.5, aggregator="max"), SUPPORTED),
        (searches(1e-4) + searches(0.5, residual=0.1, elements=5), UNDECIDED),  # a search that failed
        (searches(1e-4) + searches(0.5, elements=5), CONTRADICTED),  # another set with this embedding
        (searches(1e-4, aggregator="max"), UNDECIDED),
        ([], UNDECIDED),
    ],
)
def test_8_theorem_1(judged, found, expected):
    assert judged(8, found + limit(1.0, 0.001))[None].verdict == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [(limit(1.0, 0.009), SUPPORTED), (limit(1.0, 0.1), UNDECIDED), (limit(1.0, 0.6), CONTRADICTED), ([], UNDECIDED)],
)
def test_8_remark_1(judged, found, expected):
    assert judged(8, searches(1e-4) + found)[None].verdict == expected


def test_8_one_p_is_no_limit(judged):
    assert judged(8, searches(1e-4) + limit(1.0, 0.001)[:1])[None].verdict == UNDECIDED
