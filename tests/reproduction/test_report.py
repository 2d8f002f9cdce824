"""The report, made twice and looked into."""

import re
import shutil

import pytest

from reproduction.__main__ import main
from reproduction.records import read
from reproduction.report import figures, report, summary, write_report
from tests.support.cli_runner import ROOT
from tests.support.paper_lines import everything, line, write

README = "# A\n\n<!-- paper summary -->\nold\n<!-- end of paper summary -->\n\nrest\n"
POOLING = "before\n<!-- comparison of poolings -->\n<!-- end of comparison of poolings -->\nafter\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a report of everything."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "README.md").write_text(README)
    (folder / "docs").mkdir()
    (folder / "docs" / "pooling.md").write_text(POOLING)
    few = {"num_train": 10_000, "batch_size": 64}
    pooled = [line(name, 1024, 0, accuracy, overrides=few) for name, accuracy in (("san", 0.5), ("max", 0.6))]
    write_report(write(folder / "results", [*everything(), *pooled]))
    return folder


@pytest.mark.slow
def test_sections_and_figures(project):
    text = (project / "results" / "REPORT.md").read_text()
    titles = re.findall(r"^## (.*)$", text, re.M)
    assert titles == [
        "Verdicts",
        "Tables",
        "Figures 3 and 4",
        "Theorem 1 and Remark 1",
        "Which pooling",
        "How it was made",
    ]
    shown = set(re.findall(r"\]\((\w+\.png)\)", text))
    assert shown == {"figure3_paper_4.png", "figure4_paper_4.png", "theory.png", "pooling.png"}
    for name in (*shown, "summary.png"):
        assert (project / "results" / name).read_bytes().startswith(b"\x89PNG")
    assert "\n1. Each claim is one difference" in text
    assert len(text.splitlines()) <= 250


@pytest.mark.nightly
def test_same_bytes_again(project, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(project / "results", again / "results", ignore=shutil.ignore_patterns("*.png", "*.md"))
    assert main(["report", "--results", str(again / "results")]) == 0
    for file in (project / "results").iterdir():
        assert (again / "results" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_readme_has_verdicts_and_one_figure(project):
    readme = (project / "README.md").read_text()
    assert readme.startswith("# A\n\n<!-- paper summary -->")
    assert readme.endswith("<!-- end of paper summary -->\n\nrest\n")
    assert "| 1. Replacing global pooling by SAN" in readme
    assert readme.count("supported (4 epochs)") == 7
    assert readme.count("![") == 1
    assert "old" not in readme
    assert len(readme.splitlines()) - len(README.splitlines()) <= 15


@pytest.mark.slow
def test_page_on_poolings(project):
    page = (project / "docs" / "pooling.md").read_text()
    assert page.index("GlobalMaxPool") < page.index("| SAN |")
    assert "(pooling.png)" in page
    assert (project / "docs" / "pooling.png").exists()


def test_no_results(tmp_path):
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "results").mkdir()
    assert "No results yet" in write_report(tmp_path / "results").read_text()
    assert "No results yet" in (tmp_path / "README.md").read_text()


def test_missing_folder_is_refused(tmp_path, capsys):
    assert main(["report", "--results", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_missing_second_mark_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("<!-- paper summary -->\n")
    (tmp_path / "results").mkdir()
    with pytest.raises(ValueError, match=r"README.md with <!-- paper summary --> alone, expected <!-- end of"):
        write_report(tmp_path / "results")


@pytest.mark.slow
def test_committed_report_is_that_of_the_committed_lines():
    """Byte for byte, without drawing the figures."""
    results = read(ROOT / "results")
    drawn = figures(results)
    text = (ROOT / "results" / "REPORT.md").read_text()
    assert report(results, drawn) == text
    assert summary(results, has_figure=True).strip() in (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 250
    assert all((ROOT / "results" / file).exists() for file in drawn)
