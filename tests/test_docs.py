"""The pages under docs/ are a site that needs no network, and what they show is run as it stands."""

import html
import importlib
import re
import runpy
import subprocess
import sys
import types

import pytest
import torch

from tests.support.browser import needs_chromium, open_page
from tests.support.documents import ROOT, blocks, commands, languages, read_arguments, rehearse

DOCS = ROOT / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): page.read_text() for page in sorted(DOCS.rglob("*.md"))}
COMMANDS = sorted({command for text in PAGES.values() for command in commands(text)})
PYTHON = [name for name, text in PAGES.items() if blocks(text, "python")]
TRAINED = "export.md"  # needs a trained run: tests/cli/test_loading.py
IN_README = commands((ROOT / "README.md").read_text())
MODULES = ("aggregators", "backbones", "callbacks", "data", "inference", "inference.export", "models", "pooling")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]  # strict is not, if quiet
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def built_pages(site):
    return {page.relative_to(site).as_posix(): page.read_text() for page in site.rglob("*.html")}


@pytest.mark.e2e
def test_no_page_fetches_anything_from_elsewhere(site):
    fetches = re.compile(
        r"""<(?:script|img|iframe|source|video)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*\shref=["']?(?:https?:)?//"""
    )
    assert [name for name, text in built_pages(site).items() if fetches.search(text)] == []
    imports = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")
    assert [sheet.name for sheet in site.rglob("*.css") if imports.search(sheet.read_text())] == []


@pytest.mark.e2e
def test_every_formula_and_role_of_the_docstrings_is_turned_into_html(site):
    pages = built_pages(site)
    assert "<math" in pages["reference/aggregators.html"]
    for name, text in pages.items():
        prose = html.unescape(re.sub(r"<(pre|code|script|annotation)\b.*?</\1>", "", text, flags=re.S))
        assert re.findall(r"arithmatex|:\w+:`|\.\. math|`_\b|\$\$?\\|\\\(", prose) == [], name


@pytest.mark.e2e
@pytest.mark.parametrize("module", ["set_aggregation", *(f"set_aggregation.{name}" for name in MODULES)])
def test_the_reference_has_every_public_name(module, site):
    text = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    package = importlib.import_module(module)
    exported = [name for name in package.__all__ if not isinstance(getattr(package, name), types.ModuleType)]
    # By any of its paths: some names can be imported from two places, and stand there by one of them.
    assert [name for name in exported if not re.search(rf'id="set_aggregation\.([a-z_.]+\.)?{name}"', text)] == []


def test_the_table_of_aggregators_is_what_they_say():
    table = runpy.run_path(str(DOCS / "making" / "pooling_table.py"))
    assert table["with_table"](PAGES["pooling.md"]) == PAGES["pooling.md"], (
        "python docs/making/pooling_table.py mends it"
    )


@pytest.mark.e2e
@needs_chromium
@pytest.mark.parametrize("name", ["index", "reference/aggregators"])
def test_a_browser_asks_for_nothing_but_files_beside_the_page(name, site, tmp_path):
    page = open_page(site / f"{name}.html", tmp_path / "page.png")
    assert page.messages == []
    assert [url for url in page.requests if not url.startswith(site.as_uri())] == []


@pytest.mark.e2e
@needs_chromium
def test_the_search_works_from_files(site, tmp_path):
    page = open_page(site / "index.html", tmp_path / "page.png", query="q=bucketing", expected="matching document")
    assert "ResolutionBatchSampler makes batches of images of one size" in page.text, page.messages


@pytest.mark.parametrize("name", PAGES)
def test_blocks_say_what_they_are(name):
    assert set(languages(PAGES[name])) <= {"bash", "python", "text"}


@pytest.mark.e2e
@pytest.mark.parametrize("name", [name for name in PYTHON if name != TRAINED])
def test_the_python_of_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"__name__": "page"}
    for block in blocks(PAGES[name], "python"):
        exec(block, names)


@pytest.mark.e2e
@pytest.mark.parametrize("command", sorted(set(COMMANDS) - set(IN_README)))
def test_a_command_runs_or_is_understood(command, tmp_path, monkeypatch):
    if command.startswith("python main.py"):
        rehearse(command, tmp_path, monkeypatch)
    else:
        read_arguments(command, monkeypatch)
