import html.parser
import random
from pathlib import Path

import pytest

from set_aggregation.reports.comparison import compare
from set_aggregation.reports.comparison_report import comparison_page
from set_aggregation.reports.finished_run import find_runs
from tests.support.browser import needs_chromium, open_page
from tests.support.run_folders import history, write_run

NASTY = "<script>alert(1)</script>"
COLUMNS = "data aggregator width seed epochs train test gap best checkpoint, test parameters folder"


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, and the cells of each row of the tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag):
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self._inside:
            self.rows[-1][-1] += data


@pytest.fixture
def page(tmp_path):
    """The page of all that lies in logs/, as it would lie beside it."""
    return lambda: comparison_page(compare(*find_runs([tmp_path / "logs"])), tmp_path)


def test_the_table_has_every_run(tmp_path, page):
    write_run(tmp_path / "logs" / "a", "SAN", "Digits", 1024, 3, 40)
    write_run(tmp_path / "logs" / "b", "Flatten", "Digits", 64, 0, 5, curves=history(5, 0.9, -0.05), best={})
    head, *rows = Reader(page()).rows
    assert " ".join(head) == COLUMNS
    assert rows == [
        ["Digits", "Flatten", "64", "0", "5", "0.9000", "0.9500", "-0.0500", "-", "1,234", "logs/b"],
        ["Digits", "SAN", "1024", "3", "40", "0.8000", "0.7000", "0.1000", "0.6250", "1,234", "logs/a"],
    ]
    assert "Learning curves of 2 runs" in page()
    assert "Left out" not in page()


def test_rows_are_named_as_in_the_figure(tmp_path, page):
    for name in ("sum", "mean"):
        settings = {"model.aggregator.init_args.reduction": name}
        write_run(tmp_path / "logs" / name, settings=settings, parameters={})
    rows = Reader(page()).rows[1:]
    assert [row[1] for row in rows] == ["SAN, reduction=mean", "SAN, reduction=sum"]
    assert [row[9] for row in rows] == ["-", "-"]


def test_runs_that_are_left_out_are_named_with_the_reason(tmp_path, page):
    write_run(tmp_path / "logs" / "good")
    write_run(tmp_path / "logs" / "late", without=("results.json",))
    text = page()
    assert "Learning curves of one run" in text
    assert "Left out" in text
    assert Reader(text).rows[-1] == [
        "logs/late",
        "unfinished: got no results.json, which is written when a training ends",
    ]


def test_folders_are_named_and_linked_from_where_the_page_lies(tmp_path, monkeypatch):
    run = write_run(tmp_path / "logs" / "50 % of #1")
    (run / "report.html").write_text("report")
    write_run(tmp_path / "logs" / "other", seed=1)
    comparison = compare(*find_runs([tmp_path / "logs"]))
    (tmp_path / "pages").mkdir()
    text = comparison_page(comparison, tmp_path / "pages")
    assert [row[-1] for row in Reader(text).rows[1:]] == ["../logs/50 % of #1", "../logs/other"]
    links = [attributes["href"] for tag, attributes in Reader(text).tags if tag == "a"]
    assert links == ["../logs/50%20%25%20of%20%231/report.html"]
    monkeypatch.chdir(tmp_path / "logs")
    beside = compare(*find_runs([Path("../logs")]))
    assert comparison_page(beside, Path("../pages")) == text


def test_names_are_no_markup(tmp_path, page):
    settings = {"model.aggregator.init_args.reduction": NASTY}
    run = write_run(tmp_path / "logs" / "<img src=x>", aggregator=f"SAN{NASTY}", data=f"D{NASTY}", settings=settings)
    (run / "report.html").write_text("report")
    write_run(tmp_path / "logs" / "b", aggregator=f"SAN{NASTY}", data=f"D{NASTY}")
    broken = write_run(tmp_path / "logs" / "c<img src=x>")
    (broken / "results.json").unlink()
    reader = Reader(page())
    assert not {"script", "img", "iframe"} & {tag for tag, _ in reader.tags}
    assert reader.rows[1][:2] == [f"D{NASTY}", f"SAN{NASTY}, reduction={NASTY}"]
    assert reader.rows[1][-1] == "logs/<img src=x>"
    assert reader.rows[-1][0] == "logs/c<img src=x>"


def test_no_address_leads_out_of_the_page(tmp_path, page):
    run = write_run(tmp_path / "logs" / "javascript:alert(1)")
    (run / "report.html").write_text("report")
    reader = Reader(comparison_page(compare(*find_runs([run])), run.parent))
    policy = next(attributes["content"] for tag, attributes in reader.tags if "http-equiv" in attributes)
    # Without it a browser asks the server for one.
    assert ("link", {"rel": "icon", "href": "data:,"}) in reader.tags
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    places = [attributes.get(name) for _, attributes in reader.tags for name in ("src", "href", "xlink:href")]
    assert {place for place in places if place and not place.startswith(("#", "data:"))} == {
        "javascript%3Aalert%281%29/report.html"
    }


def test_the_same_runs_give_the_same_bytes(tmp_path):
    for seed in range(3):
        write_run(tmp_path / "logs" / f"{seed}", seed=seed)
    runs, skipped = find_runs([tmp_path / "logs"])
    first = comparison_page(compare(runs, skipped), tmp_path)
    random.Random(1).shuffle(runs)
    assert comparison_page(compare(runs, skipped), tmp_path) == first


def test_folders_whose_names_are_no_text(tmp_path, page):
    run = write_run(tmp_path / "logs" / "\udcff")
    (run / "report.html").write_text("report")
    assert Reader(page()).rows[-1][-1] == r"logs/\udcff"
    assert 'href="logs/%FF/report.html"' in page()


@pytest.mark.e2e
@needs_chromium
def test_a_browser_shows_the_page_and_asks_for_nothing(tmp_path):
    for seed in (0, 1):
        for name in ("SAN", f"Flatten{NASTY}"):
            write_run(tmp_path / "logs" / f"{name[:3]}{seed}", name, seed=seed)
    write_run(tmp_path / "logs" / "late", without=("results.json",))
    file = tmp_path / "page.html"
    file.write_text(comparison_page(compare(*find_runs([tmp_path / "logs"])), tmp_path))
    shown = open_page(file, tmp_path / "page.png")
    assert shown.messages == []
    assert shown.requests == []
    assert "Learning curves of 4 runs" in shown.text
    assert "gap 0.100, test 0.700, n = 2" in shown.text
    assert f"Flatten{NASTY}" in shown.text
    assert shown.screenshot.stat().st_size > 10_000
