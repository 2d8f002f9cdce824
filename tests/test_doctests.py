"""The examples in the docstrings run, and give what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [file for folder in ("src", "reproduction") for file in sorted((ROOT / folder).rglob("*.py"))]
SHOWN = [file.relative_to(ROOT).with_suffix("") for file in FILES if ">>> " in file.read_text()]
MODULES = [".".join(file.parts).removeprefix("src.").removesuffix(".__init__") for file in SHOWN]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, capsys):
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0
    assert done.failed == 0, capsys.readouterr().out
