"""The prose rules that a test can hold; ruff's D401 holds the imperative mood of function docstrings."""

import ast
import re

import pytest

from tests.support.documents import ROOT

BANNED = re.compile(r"\b(lies|says|goes on|told|tells? apart|what a person|of no line|to its end|a person)\b")
RIDDLE = re.compile(r"(What|Whether|How|Where|Which|Who|When)\b")
SOURCES = [path for folder in ("src", "reproduction") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_banned_phrase(path):
    found = [
        f"line {n}: {line.strip()}" for n, line in enumerate(path.read_text().splitlines(), 1) if BANNED.search(line)
    ]
    assert found == []


def test_no_docstring_opens_with_a_question_word():
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                found += [f"{path.relative_to(ROOT)}: {first}"] if RIDDLE.match(first) else []
    assert found == []
