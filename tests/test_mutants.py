"""Bugs put into the code on purpose are caught by the tests."""

import pytest

from tests.mutants.run import ROOT, areas, main, mutants


@pytest.mark.nightly
@pytest.mark.parametrize("area", areas())
def test_mutants_are_caught(area):
    assert main([area]) == 0


def test_each_mutant_applies_once():
    for area in areas():
        for mutant in mutants(area):
            text = (ROOT / mutant["file"]).read_text()
            assert text.count(mutant["before"]) == 1, (area, mutant["name"])
