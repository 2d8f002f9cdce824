"""What README and CONTRIBUTING show is run as it stands."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from set_aggregation import cli
from set_aggregation.data import CIFAR10

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(text, language):
    return [re.sub(r"^   ", "", block, flags=re.M) for block in re.findall(rf"```{language}\n(.*?)```", text, re.S)]


BASH = [line for block in blocks(README, "bash") for line in block.splitlines()]
COMMANDS = [line.split("&&")[-1].strip() for line in BASH]
START, SHORT = COMMANDS[0], [command for command in COMMANDS[1:] if command.startswith("python main.py")]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command line of the README in an empty folder and gives what it prints."""

    def run(command, *more):
        python, script, *arguments = shlex.split(command)
        assert (python, script) == ("python", "main.py")
        arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in arguments]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_SILENT", "true")
        monkeypatch.setattr(sys, "argv", [script, *arguments, *more])
        cli.main()
        return capsys.readouterr().out

    return run


def test_the_first_command_installs_and_trains_to_97_percent(run):
    assert BASH[0].startswith("python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt -e")
    found = re.search(r"test/accuracy, best checkpoint\s*│\s*([\d.]+)", run(START))
    assert float(found.group(1)) >= 0.97


def test_the_second_command_installs_and_tests():
    assert BASH[1].endswith('pip install -c constraints.txt -e ".[dev]" && python -m pytest -n auto --dist loadfile')
    assert BASH[1].split("&&")[-1].strip() in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("command", SHORT)
def test_every_other_command_runs(command, run, monkeypatch, tmp_path):
    def load(self):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (11_000, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return images, torch.randint(10, (11_000,), generator=generator), 100

    monkeypatch.setattr(CIFAR10, "prepare_data", lambda self: None)
    monkeypatch.setattr(CIFAR10, "load", load)
    for name in ("cats/1", "cats/2", "dogs/1", "dogs/2"):
        for number in range(5):
            file = tmp_path / "pictures" / f"{name}{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40 + number, 30)).save(file)
    if command.endswith("--help"):
        with pytest.raises(SystemExit) as ended:
            run(command)
        assert ended.value.code == 0
    else:
        run(command, "--trainer.fast_dev_run", "1")


def test_the_example_in_plain_pytorch_runs():
    names = {}
    exec(blocks(README, "python")[0], names)
    assert names["vectors"].shape == (8, 512)


def test_the_example_in_pytorch_geometric_runs():
    names = {}
    exec("".join(blocks(README, "python")[:2]), names)
    x, edge_index = torch.randn(3, 16), torch.tensor([[0, 1], [1, 0]])
    assert names["readout"](names["conv"](x, edge_index), torch.tensor([0, 0, 1])).shape == (2, 64)


def test_the_example_of_models_of_others_runs():
    pytest.importorskip("timm", reason="timm is not installed")
    names = {}
    exec(blocks(README, "python")[0] + blocks(README, "python")[2], names)
    for name in ("convnext", "vit", "resnet"):
        assert names[name](torch.randn(2, 3, 224, 224)).shape == (2, 10)


def test_the_example_of_the_sampler_runs():
    names = {}
    exec(next(block for block in blocks(README, "python") if "ResolutionBatchSampler" in block), names)
    assert sorted(names["shapes"]) == [(1, 3, 32, 32), (2, 3, 16, 16), (2, 3, 32, 32)]


def test_the_table_names_aggregators_there_are():
    from set_aggregation import aggregators

    named = set(re.findall(r"^\| `(\w+)\(", README, re.M))
    assert {"SAN", "GlobalAvgPool"} <= named <= set(aggregators.__all__)


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
