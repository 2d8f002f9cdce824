"""Tables with the paper's number and ours in each cell."""

import pytest

from reproduction.claims import judge
from reproduction.records import read
from reproduction.tables import environments, measured, paper_tables, verdicts
from tests.support.paper_lines import everything, line, write


def tables(folder, lines):
    return {table.title.split(":")[0]: table for table in paper_tables(read(write(folder, lines)).runs)}


def test_mean_and_interval():
    assert measured([0.7, 0.72, 0.74]) == "0.720 ± 0.050 (3)"
    assert measured([0.7]) == "0.700"
    assert measured([]) == "-"
    assert measured([0.01], digits=1, factor=100, sign="+") == "+1.0"


def test_table_2_has_only_what_was_run(tmp_path):
    lines = [line("san", 1024, seed, 0.70 + 0.02 * seed) for seed in range(2)]
    lines += [line("flatten", 128, 0, 0.71), line("max", 128, 0, 0.6, data="fashion_mnist", epochs=15)]
    lines.append(line("max", 128, 0, 0.6, data="digits"))
    table = tables(tmp_path, lines)["Table 2"]
    assert table.header[:4] == ("data", "size", "epochs", "flatten")
    assert table.rows == [
        ("CIFAR-10", "1024", "3", "-", "-", "-", "-", "0.756 / 0.710 ± 0.127 (2)"),
        ("CIFAR-10", "4096", "3", "0.720 / 0.710", "-", "-", "-", "-"),
        ("Fashion-MNIST", "128", "15", "-", "-", "0.901 / 0.600", "-", "-"),
    ]


def test_table_3_has_a_row_for_each_size(tmp_path):
    lines = [line("san", 1024, 0, train_sizes="original", per_size={"16x16": 0.4, "32x32": 0.75, "20x20": 0.5})]
    rows = tables(tmp_path, lines)["Table 3"].rows
    assert [row[2] for row in rows] == ["16", "20", "32"]
    assert [row[-1] for row in rows] == ["0.381 / 0.400", "- / 0.500", "0.753 / 0.750"]


def test_table_4_has_errors(tmp_path):
    lines = [
        line("san", 4096, 0, 0.93, backbone="resnet56"),
        line("original", 64, 0, 0.92, backbone="resnet56", preset="short"),
    ]
    assert tables(tmp_path, lines)["Table 4"].rows == [
        ("3", "-", "-", "-", "-", "0.0697 / 0.0700"),
        ("3, short", "0.0735 / 0.0800", "-", "-", "-", "-"),
    ]


def test_dropout(tmp_path):
    lines = [line("flatten", 128, 0, 0.7), line("flatten", 128, 0, 0.72, dropout=0.5), line("san", 4096, 0, 0.73)]
    assert tables(tmp_path, lines)["Dropout"].rows == [("CIFAR-10", "3", "0.700", "0.720", "0.730")]


def test_ablations_are_less_the_baseline_over_common_seeds(tmp_path):
    lines = [line("san", 1024, seed, 0.70, epochs=15) for seed in range(3)]
    lines += [
        line("san", 1024, seed, 0.71 + 0.01 * seed, epochs=15, overrides={"reduction": "mean"}) for seed in (0, 1)
    ]
    lines += [line("max", 1024, 0, 0.70, epochs=15), line("max", 1024, 0, 0.74, epochs=40)]
    lines += [line("max", 1024, 0, 0.70, epochs=15, overrides={"num_train": 10_000})]
    lines += [line("avg", 1024, 0, 0.70, epochs=epochs, train_sizes="all") for epochs in (15, 40)]  # is in Table 3
    rows = tables(tmp_path, lines)["Ablations"].rows
    assert rows == [
        ("reduction: mean", "one size", "+1.5 ± 6.4 (2)", "-", "-"),
        ("epochs: 40", "one size", "-", "+4.0", "-"),
    ]


def test_verdicts_have_both_numbers(tmp_path):
    results = read(write(tmp_path, everything()))
    table = verdicts(judge(results.runs, results.measurements))
    first, fifth, seventh = table.rows[0], table.rows[4], table.rows[6]
    assert first[1:3] == ("4", "+7.0; +4.9")
    assert first[3].startswith("SAN less avg +")
    assert "over 6 cells, ± " in first[3]
    assert "over 3 seeds" in first[3]
    assert first[4:] == ("54", "supported")
    assert fifth[2] == "-"
    assert seventh[2] == "+0.4"


def test_verdicts_name_what_was_not_run(tmp_path):
    results = read(write(tmp_path, [line("san"), line("max")]))
    table = verdicts(judge(results.runs, results.measurements))
    assert table.rows[0][3:] == ("SAN less max +0.0; SAN less avg: not run", "2", "undecided")


def test_environments_count_lines_and_hours(tmp_path):
    results = read(write(tmp_path, [line(seed=seed, seconds=1800) for seed in range(4)]))
    (row,) = environments(results.runs, results.measurements).rows
    assert row == ("0123abc", "1 x cpu", "Linux", "torch 2.15.0", "4", "2.0")


@pytest.mark.parametrize("lines", [[], [line(data="digits")]])
def test_no_tables(tmp_path, lines):
    assert tables(tmp_path, lines) == {}
