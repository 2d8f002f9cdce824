"""What docs/paper.md says is so."""

import re
import shlex

import pytest

from reproduction.command import _choice, _parser
from reproduction.grid import EXPERIMENTS, Choice, expand
from tests.support.cli_runner import ROOT

PAGE = (ROOT / "docs" / "paper.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_taken(command):
    python, m, module, *arguments = shlex.split(command)
    assert (python, m, module) == ("python", "-m", "reproduction")
    options = _parser().parse_args(arguments)
    if options.command == "run":
        assert expand(options.experiment, _choice(options))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_number_of_runs(experiment):
    row = next(line for line in PAGE.splitlines() if line.startswith("| `") and f"`{experiment}`" in line)
    assert int(re.search(r"\| (\d+)( each)? \|$", row).group(1)) == len(expand(experiment, Choice()))


def test_every_experiment_has_a_row():
    table = PAGE[PAGE.index("| `run` |") : PAGE.index("All have seeds")]
    assert set(re.findall(r"`(\w+)`", table)) == {*EXPERIMENTS, "run", "theory", "pooling_time"}
