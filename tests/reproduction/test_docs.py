"""docs/paper.md agrees with the code."""

import re
import shlex

import pytest

from reproduction.__main__ import parser
from reproduction.grid import EXPERIMENTS, expand
from tests.support.cli_runner import ROOT

PAGE = (ROOT / "docs" / "paper.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
CHOICE = ("data", "aggregators", "sizes", "train_sizes", "seeds", "epochs", "preset")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_taken(command):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "reproduction"]
    options = vars(parser().parse_args([word for word in words[3:] if word not in (">", "sweep.yaml")]))
    if options.get("experiment") in EXPERIMENTS:
        assert expand(options["experiment"], **{name: options[name] for name in CHOICE})


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_number_of_runs(experiment):
    row = next(line for line in PAGE.splitlines() if line.startswith("| `") and f"`{experiment}`" in line)
    assert int(re.search(r"\| (\d+)( each)? \|$", row).group(1)) == len(expand(experiment))


def test_every_experiment_has_a_row():
    table = PAGE[PAGE.index("| `run` |") : PAGE.index("All have seeds")]
    assert set(re.findall(r"`(\w+)`", table)) == {*EXPERIMENTS, "run", "theory", "pooling_time"}
