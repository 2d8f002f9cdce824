"""The prose rules that a test can check; ruff's D401 checks that function docstrings are imperative."""

import ast
import re

from tests.support.documents import ROOT

# STYLE's phrases, and names that have a standard word: image, misclassification.
BANNED = re.compile(
    r"\b(lies?|says?|said|told|(go|goes|going|went) on|(tell|tells|telling) apart|what a person|a person|of no line"
    r"|to its end|in (the )?place of|in its place|into the place|takes? the place|pictur(e|es|ed)|mistakes?)\b",
    re.IGNORECASE,
)
RIDDLE = re.compile(r"(What|Whether|How|Where|Which|Who|When)\b")
SOURCES = [path for folder in ("src", "reproduction") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [
    *(path for folder in ("configs", "docker", "docs", "examples") for path in sorted((ROOT / folder).rglob("*.*"))),
    *(path for folder in ("src", "reproduction") for path in sorted((ROOT / folder).rglob("*.jinja"))),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "main.py", "mkdocs.yml")),
]
PAGES = [path for path in PAGES if path.suffix not in (".png", ".pyc")]


def test_no_banned_phrase():
    found = [
        f"{path.relative_to(ROOT)}, line {n}: {line.strip()}"
        for path in (*SOURCES, *PAGES)
        for n, line in enumerate(path.read_text().splitlines(), 1)
        if BANNED.search(line)
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
