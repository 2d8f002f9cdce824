import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from reproduction.judgement import judgements
from reproduction.reading import read
from reproduction.report import (
    END,
    POOLING_END,
    POOLING_START,
    START,
    between,
    comparison,
    markdown,
    summary,
    write_report,
)
from reproduction.sections import sections
from tests.support.browser import needs_chromium, open_page
from tests.support.paper_lines import ENVIRONMENT, everything, line, theory, write

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NASTY = "<script>alert('a')</script>|*x*"


def text(folder):
    results = read(folder)
    return markdown(sections(results, judgements(results)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results"


def some():
    yield from (line(seed=seed, accuracy=0.7 + 0.01 * seed) for seed in (0, 1))
    yield line("max", accuracy=0.6)
    yield line(preset="modern", epochs=40, split="official")
    yield line(data="digits")
    for size in (8, 64):
        settings = {"elements": 2, "features": 1, "aggregator": "san", "size": size, "seed": 0}
        yield theory("theorem1", {"error": 0.1, "residual": 0.5}, **settings)
    yield from (theory("remark1", {"difference": 1 / p}, p=p, seed=0) for p in (1, 1000))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a report, which is not to be changed."""
    folder = write(tmp_path_factory.mktemp("project") / "results", some())
    assert write_report(folder) == folder / "REPORT.md"
    return folder


# Files


def test_files(written):
    pictures = ["figure2.png", "figure3_modern_40.png", "figure3_paper_3.png", "remark1.png", "theorem1.png"]
    assert {file.name for file in written.iterdir()} == {"REPORT.md", "report.html", "table2.jsonl", *pictures}
    shown = re.findall(r"!\[.*\]\((.*)\)", (written / "REPORT.md").read_text(encoding="utf-8"))
    assert sorted(shown) == pictures
    for name in pictures:
        with Image.open(written / name) as picture:
            assert min(picture.size) > 300
            assert set(picture.info) <= {"dpi"}  # neither a date nor a version


def test_a_second_report_has_the_same_bytes(written, folder):
    write_report(write(folder, some()))
    first, second = ({file.name: file.read_bytes() for file in each.iterdir()} for each in (written, folder))
    assert first == second


def test_another_process_writes_the_same_text(folder):
    write(folder, everything())
    code = (
        "import sys, pathlib\n"
        "from reproduction.judgement import judgements\n"
        "from reproduction.reading import read\n"
        "from reproduction.report import markdown\n"
        "from reproduction.sections import sections\n"
        "results = read(pathlib.Path(sys.argv[1]))\n"
        "sys.stdout.buffer.write(markdown(sections(results, judgements(results))).encode())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert done.stdout.decode() == text(folder)


def test_the_order_of_lines_changes_their_places_only(folder):
    def without_places(report):
        return re.sub(r"(table2:)?[\d, -]+ \|$", "|", report, flags=re.M)

    lines = list(everything(seeds=(0, 1)))
    first = without_places(text(write(folder, lines)))
    assert without_places(text(write(folder, lines[::-1]))) == first


def test_no_folder(folder):
    with pytest.raises(ValueError, match=r"got .*results, which is no folder; expected that of the results"):
        write_report(folder)


# What stands in it


def test_nothing_run(folder):
    report = text(write(folder, []))
    assert "No results yet" in report
    assert report.count("| undecided (not run) |") == 8
    assert "Preset" not in report
    write_report(folder)
    assert {file.name for file in folder.iterdir()} == {"REPORT.md", "report.html", "table2.jsonl"}


def test_one_line(folder):
    report = text(write(folder, [line(accuracy=0.75)]))
    assert "| 1024 | SAN | 0.756 | 0.7500 ± 0.0120† | 1 | -0.0060 |" in report
    assert "| Table 2, Figures 3 and 4 | paper | 3 | 1 of 50 | 1 | 1 |" in report
    assert "Not run: Table 2, Fashion-MNIST; Table 3, CIFAR-10, trained on all sizes;" in report


def test_a_chapter_for_each_preset_and_number_of_epochs(folder):
    report = text(write(folder, [line(), line(epochs=1), line(preset="code"), line(preset="modern", data="digits")]))
    assert re.findall("^## (Preset.*)", report, re.M) == [
        *("Preset paper, 1 epoch", "Preset paper, 3 epochs", "Preset code, 3 epochs"),
    ]
    assert "Runs that stand in none of these tables: 1." in report


def test_all_claims_with_their_rule_and_runs(folder):
    report = text(write(folder, everything()))
    assert re.findall(r"^\| (\d) \| .* \| paper \| 4 \| supported \|", report, re.M) == list("1234567")
    assert "| 8 | SAN's embedding" in report
    assert "corrected together by Holm's method" in report
    assert "| CIFAR-10, 128: SAN less avg | 0-2 | 3 | +10.02 ± 0.72 | 0.0 | 0.0003 |" in report
    assert "| in favour | table2:1, 4, 89, 92, 177, 180 |" in report
    assert "SAN reaches 90 % test accuracy on Fashion-MNIST after fewer epochs" in report


def test_machines(folder):
    other = {**line(seed=1), "environment": {**ENVIRONMENT, "commit": "4567def"}, "seconds": 7200}
    report = text(write(folder, [line(), other, theory("remark1", {"difference": 1.0}, p=1, seed=0)]))
    assert "| 0123abc | 1 x cpu | Linux | torch 2.15.0 | 2 | 0.1 |" in report
    assert "| 4567def | 1 x cpu | Linux | torch 2.15.0 | 1 | 2.0 |" in report


def test_tables_are_whole(folder):
    rows = [row for row in text(write(folder, everything(seeds=[0]))).splitlines() if row.startswith("|")]
    assert len(rows) > 200
    header = None
    for row in rows:
        if set(row) <= set("|-:"):
            assert row.count("|") == header.count("|")
            width = row.count("|")
        header = row
        assert row.endswith("|")
    assert width == rows[-1].count("|")


def test_names_are_no_markup(folder):
    write(folder, [{**line(), "environment": {**ENVIRONMENT, "devices": NASTY}}, line(overrides={"a": NASTY})])
    report = text(folder)
    assert "&lt;script>alert('a')&lt;/script>\\|\\*x\\*" in report
    assert "<script" not in report
    write_report(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert "<script" not in page


@needs_chromium
def test_the_page_asks_for_nothing(tmp_path, written):
    page = open_page(written / "report.html", tmp_path / "page.png")
    assert (page.messages, page.requests) == ([], [])
    for words in (
        "supported",
        "Table 2, CIFAR-10: accuracy",
        "not run",
        "max-pool",
        "N = 2, K = 1",
        "Holm",
    ):
        assert words in page.text


# README


def test_readme_and_docs_show_what_the_results_say():
    results = ROOT / "results"
    assert between(README, (START, END), summary(read(results))) == README
    page = (ROOT / "docs" / "pooling.md").read_text(encoding="utf-8")
    assert between(page, (POOLING_START, POOLING_END), comparison(read(results))) == page
    if any(results.glob("*.jsonl")):
        assert (results / "REPORT.md").read_text(encoding="utf-8") == text(results)


def test_the_summary_is_filled_in(tmp_path, folder):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{START}\nold\n{END}\n\nafter ±\n", encoding="utf-8")
    write_report(write(folder, [line(name, seed=seed) for name in ("san", "max") for seed in (0, 1)]))
    filled = readme.read_text(encoding="utf-8")
    assert filled.startswith(f"before\n\n{START}\n\nTest accuracy")
    assert filled.endswith(f"\n\n{END}\n\nafter ±\n")
    assert "old" not in filled
    assert "|  | ours, preset paper, 3 epochs | not run | 0.700 ± 0.000 |" in filled
    assert "| Table 2, Figures 3 and 4 | paper | 3 | 2 of 50 | 4 | 2 |" in filled
    assert filled.count("undecided (not run)") == 6
    write_report(folder)
    assert readme.read_text(encoding="utf-8") == filled


def test_a_readme_without_marks_is_left_alone(tmp_path, folder):
    (tmp_path / "README.md").write_text("mine")
    write_report(write(folder, []))
    assert (tmp_path / "README.md").read_text() == "mine"


def test_half_a_mark_is_an_error(tmp_path, folder):
    (tmp_path / "README.md").write_text(START)
    with pytest.raises(ValueError, match=r"got a page with <!-- paper summary --> alone"):
        write_report(write(folder, []))


# docs/pooling.md


def test_the_comparison_of_poolings_is_filled_in(tmp_path, folder):
    page = tmp_path / "docs" / "pooling.md"
    page.parent.mkdir()
    page.write_text(f"before {POOLING_START} old {POOLING_END} after")
    write_report(write(folder, [line()]))
    assert "Not run yet" in page.read_text()
    assert [file.name for file in page.parent.iterdir()] == ["pooling.md"]
    few = {"num_train": 10000, "batch_size": 64}
    write_report(write(folder, [line("san", seed=seed, accuracy=0.6 + seed / 10, overrides=few) for seed in (0, 1)]))
    filled = page.read_text()
    assert filled.startswith(f"before {POOLING_START}\n\nThe small network")
    assert filled.endswith(f"{POOLING_END} after")
    assert "run pooling --seeds 0 1 --epochs 3\n" in filled
    assert "| SAN | 1,024 | 2,048 | 0.6500 ± 0.6353 | 2 |" in filled
    assert "(pooling.png)" in filled
    with Image.open(page.with_name("pooling.png")) as picture:
        assert min(picture.size) > 300
    assert "Which pooling, preset paper, 3 epochs" in (folder / "REPORT.md").read_text()
