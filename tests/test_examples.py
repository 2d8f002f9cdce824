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


@pytest.mark.e2e
@pytest.mark.parametrize("names", [NAMES[:1], pytest.param(NAMES, marks=pytest.mark.nightly)], ids=["one", "all"])
def test_digits_as_sets_trains_the_aggregators(names):
    command = [sys.executable, DIGITS_AS_SETS, "--seeds", "2", "--epochs", "1", "--aggregators", *names]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.findall(r"^\| (\w+) \| [\d.]+ ± [\d.]+ \| [\d,]+ \| [\d.]+ \|$", run.stdout, re.M) == names


@pytest.mark.slow
def test_it_learns():
    accuracy, _ = runpy.run_path(str(DIGITS_AS_SETS))["train_and_test"]("SAN", 0, 4)
    assert accuracy > 0.35  # chance is 0.1


def test_concatenated_and_padded_sets_have_the_same_logits():
    example = runpy.run_path(str(DIGITS_AS_SETS))
    sets = example["digits_as_sets"]()[0][:8]
    network = example["SetNetwork"](aggregators.SAN(32, 128))
    torch.testing.assert_close(network(sets), network.padded(sets))
