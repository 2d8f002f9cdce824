"""What README and CONTRIBUTING show is run as it stands."""

import re

import pytest
import torch

from tests.support.documents import ROOT, blocks, commands, read_arguments, rehearse, run

README = (ROOT / "README.md").read_text()
BASH = "".join(blocks(README, "bash")).replace("\\\n", "").splitlines()
COMMANDS = commands(README)
SET_UP = 'python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt -e ".[{}]" && python'


def test_first_command_installs():
    assert " ".join(BASH[0].split()).startswith(SET_UP.format("train"))


@pytest.mark.nightly
def test_first_command_trains_to_97_percent(tmp_path, monkeypatch, capsys):
    run(COMMANDS[0], tmp_path, monkeypatch)
    found = re.search(r"test/accuracy, best checkpoint\s*│\s*([\d.]+)", capsys.readouterr().out)
    assert float(found.group(1)) >= 0.97


def test_second_command_installs_and_tests():
    assert " ".join(BASH[1].split()).startswith(SET_UP.format("dev"))
    assert COMMANDS[1] in (ROOT / ".ci" / "run").read_text()


@pytest.mark.e2e
@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python main.py")])
def test_every_command_runs(command, tmp_path, monkeypatch):
    rehearse(command, tmp_path, monkeypatch)


@pytest.mark.parametrize("command", [command for command in COMMANDS[2:] if not command.startswith("python main.py")])
def test_the_commands_of_modules_are_understood(command, monkeypatch):
    read_arguments(command, monkeypatch)


def test_the_example_in_plain_pytorch_runs():
    names = {}
    exec(blocks(README, "python")[0], names)
    assert names["vectors"].shape == (8, 512)


@pytest.mark.e2e
def test_the_example_of_models_of_others_runs():
    pytest.importorskip("timm", reason="timm is not installed")
    names = {}
    exec("".join(blocks(README, "python")[:2]), names)
    for name in ("convnext", "vit", "resnet"):
        assert names[name](torch.randn(2, 3, 224, 224)).shape == (2, 10)

    from set_aggregation import aggregators

    (listed,) = re.findall(r"other aggregators include (.*?): see the", README, re.S)
    assert {"PMA", "GlobalAvgPool"} <= set(re.findall(r"`(\w+)`", listed)) <= set(aggregators.__all__)


def test_the_worked_example_of_contributing_is_an_aggregator_there_is_not_yet():
    from set_aggregation import aggregators

    example = next(block for block in blocks((ROOT / "CONTRIBUTING.md").read_text(), "python") if "class " in block)
    names = {}
    exec(example, names)
    x, mask = torch.randn(2, 5, 3), torch.tensor([[True, True, False, True, False], [False] * 5])
    pooled = names["RangePool"](3)(x, mask)
    torch.testing.assert_close(pooled[0], x[0, mask[0]].amax(0) - x[0, mask[0]].amin(0))
    assert torch.equal(pooled[1], torch.zeros(3))
    torch.testing.assert_close(names["RangePool"](3).ragged(x[mask], index=mask.nonzero()[:, 0], num_sets=2), pooled)
    assert "RangePool" not in aggregators.__all__
