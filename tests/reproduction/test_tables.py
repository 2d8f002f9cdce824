import pytest

from reproduction.cells import Group
from reproduction.contrast import Contrast
from reproduction.published import DATA, SIZES, TABLE2, TABLE3, table2, table3
from reproduction.reading import read
from reproduction.tables import interval, paper_tables
from tests.support.paper_lines import everything, line, write

PAPER = Group("paper", 3)


@pytest.fixture
def table(tmp_path):
    """The table with this title, of these lines; a row by its words."""

    def table(title, *lines, group=PAPER):
        runs = read(write(tmp_path / "results", lines)).runs
        (found,) = (each for each in paper_tables(runs, group) if each.title.startswith(title))
        return {row[: found.num_labels]: row[found.num_labels :] for row in found.rows}

    return table


def test_the_paper_s_numbers_beside_ours(table):
    rows = table("Table 2, CIFAR-10", *(line(seed=seed, accuracy=0.7 + 0.02 * seed, last=0.6) for seed in (0, 1, 2)))
    assert rows["1024", "SAN"] == ("0.756", "0.7200 ± 0.0497", "3", "-0.0360", "0.6000 ± 0.0000", "-0.1560")


def test_cells_that_are_not_run_say_so(table):
    rows = table("Table 2, CIFAR-10", line())
    assert len(rows) == 25
    assert rows["4096", "flatten"] == ("0.720", "not run", "0", "not run", "not run", "not run")
    assert sum("not run" in row for row in rows.values()) == 24


def test_a_single_seed_is_marked(table):
    rows = table("Table 2, CIFAR-10", line(accuracy=0.75), line("max", accuracy=0.5, split="official"))
    assert rows["1024", "SAN"][1:3] == ("0.7500 ± 0.0120†", "1")
    assert rows["1024", "max-pool"][1:3] == ("0.5000 ± 0.0098†", "1")


def test_a_table_of_another_preset_is_empty(table):
    lines = line(seed=0), line(seed=0, preset="code"), line(seed=1, epochs=40)
    assert table("Table 2, CIFAR-10", *lines)["1024", "SAN"][2] == "1"
    assert table("Table 2, CIFAR-10", *lines, group=Group("modern", 3)) == {}


def test_flatten(table):
    rows = table("Table 2, Fashion", line("flatten", 128, data="fashion_mnist", accuracy=0.9))
    assert rows["4096", "flatten"][0:2] == ("0.919", "0.9000 ± 0.0083†")


def test_each_size(table):
    per_size = {"16x16": 0.5, "24x24": 0.6, "32x32": 0.7, "40x40": 0.65, "48x48": 0.6}
    rows = table("Table 3, CIFAR-10, trained on the original", line(train_sizes="original", per_size=per_size))
    assert rows["16x16", "SAN"][::3] == ("0.3808", "+0.1192")
    assert rows["48x48", "SAN"][1].startswith("0.6000")
    assert rows["48x48", "max-pool"][:2] == ("0.5325", "not run")
    assert len(rows) == 15


def test_sizes_that_the_paper_does_not_have(table):
    made = line(data="fashion_mnist", train_sizes="all", per_size={"12x12": 0.5, "28x28": 0.7})
    rows = table("Table 3, Fashion-MNIST, trained on all", made)
    assert rows["12x12", "SAN"][0::3] == ("-", "-")
    assert rows["28x28", "SAN"][0] == "0.9111"
    assert {image for image, _ in rows} == {"12x12", "28x28"}


def test_widths_of_table_3_have_tables_of_their_own(tmp_path):
    runs = read(write(tmp_path, [line("san", size, train_sizes="all") for size in (128, 1024)])).runs
    notes = [table.note for table in paper_tables(runs, PAPER) if table.title.startswith("Table 3") and table.rows]
    assert [note.split(";")[0] for note in notes] == [f"Size of the aggregation layer {size}" for size in (128, 1024)]


def test_errors_of_table_4(table):
    rows = table("Table 4", line("original", 64, accuracy=0.93, backbone="resnet56"))
    assert rows[("original",)][:4] == ("0.0735", "0.0700 ± 0.0071†", "1", "-0.0035")
    assert rows[("SAN",)][:2] == ("0.0697", "not run")


def test_dropout(table):
    rows = table("Dropout", line("flatten", 128, dropout=0.5), line("flatten", 128, accuracy=0.6))
    assert [rows["CIFAR-10", name][0] for name in ("flatten", "flatten, dropout 0.5", "SAN, 4096")] == [
        "0.720",
        "-",
        "0.762",
    ]
    assert rows["CIFAR-10", "flatten, dropout 0.5"][1].startswith("0.7000")


def test_open_points_are_differences_to_the_baseline_over_common_seeds(table):
    base = [line(seed=seed, accuracy=0.7 + 0.05 * seed) for seed in (0, 1, 2)]
    turned = [line(seed=seed, accuracy=0.72 + 0.05 * seed, overrides={"reduction": "mean"}) for seed in (1, 2, 3)]
    several = [line(train_sizes="all"), line(train_sizes="all", accuracy=0.6, overrides={"antialias": False})]
    longer = [line(accuracy=0.74, epochs=40), line("max", epochs=40), line("max", accuracy=0.71)]
    longer += [line(accuracy=0.9, epochs=40, preset="code"), line("max", 4096, epochs=200, backbone="resnet56")]
    rows = table("Open points", *base, *turned, *several, *longer)
    assert rows["reduction", "mean", "one size"] == ("+2.00 ± 0.00", "2", "does not apply", "-")
    assert rows["antialias", "False", "all sizes"] == ("-10.00 ± 1.86†", "1", "not run", "0")
    assert [point for point, *_ in rows] == ["reduction", "antialias", "epochs"]
    assert rows["epochs", "40", "one size"] == ("+4.00 ± 1.76†", "1", "-1.00 ± 1.79†", "1")


def test_no_number_is_minus_nothing():
    assert interval(Contrast("", {0: -1e-9, 1: -1e-9}, None, ()), sign="+") == "+0.0000 ± 0.0000"


def test_the_paper_s_numbers_are_all_there():
    assert len(TABLE2) * len(SIZES) == 48
    assert len(TABLE3) == 20
    assert {data for data, *_ in TABLE2} == {data for data, *_ in TABLE3} == set(DATA)
    assert [table2("fashion_mnist", name, 4096) for name in ("flatten", "avg", "max", "conv1x1", "san")] == [
        *(0.919, 0.912, 0.900, 0.914, 0.912)
    ]
    assert [table3("cifar10", "original", 32, name) for name in ("max", "avg", "san")] == [0.7131, 0.7637, 0.7534]


def test_all_that_is_run_is_told(tmp_path):
    runs = read(write(tmp_path, everything(seeds=(0, 1)))).runs
    found = [table for table in paper_tables(runs, Group("paper", 4)) if table.rows]
    assert [row for table in found for row in table.rows if "not run" in row] == []
