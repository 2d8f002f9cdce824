"""The programs under examples/ run, at a tiny setting."""

import re
import runpy
import subprocess
import sys

import pytest
import torch

from set_aggregation import aggregators
from tests.support.documents import ROOT

DIGITS_AS_SETS = ROOT / "examples" / "digits_as_sets.py"
NAMES = [name for name in aggregators.__all__ if name not in ("Aggregator", "SetReduction")]


def test_digits_as_sets_trains_every_aggregator():
    command = [sys.executable, DIGITS_AS_SETS, "--seeds", "2", "--epochs", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.findall(r"^\| (\w+) \| [\d.]+ ± [\d.]+ \| [\d,]+ \| [\d.]+ \|$", run.stdout, re.M) == NAMES


@pytest.mark.parametrize(("name", "epochs"), [("SAN", 4), ("Flatten", 2)])
def test_points_are_learned_from(name, epochs):
    accuracy, _ = runpy.run_path(str(DIGITS_AS_SETS))["train_and_test"](name, 0, epochs)
    assert accuracy > 0.35  # a guess has 0.1


def test_points_one_after_the_other_give_what_padded_ones_give():
    example = runpy.run_path(str(DIGITS_AS_SETS))
    sets = example["digits_as_sets"]()[0][:8]
    network = example["SetNetwork"](aggregators.SAN(32, 128))
    torch.testing.assert_close(network(sets), network.padded(sets))
