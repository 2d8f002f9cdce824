"""Bugs put into the code on purpose are caught by the tests."""

import subprocess
import sys

import pytest

from tests.mutants.run import ROOT, areas, mutants


@pytest.mark.nightly
@pytest.mark.parametrize("area", areas())
def test_mutants_are_caught(area):
    command = [sys.executable, "-m", "tests.mutants.run", area]  # alone: the tests here have imported the package
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_mutant_applies_once_and_has_its_tests():
    for area in areas():
        for mutant in mutants(area):
            assert all((ROOT / test.partition("::")[0]).exists() for test in mutant["tests"]), (area, mutant["name"])
            text = (ROOT / mutant["file"]).read_text()
            assert text.count(mutant["before"]) == 1, (area, mutant["name"])
