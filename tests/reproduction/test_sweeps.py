"""Runs of each sweep under configs/sweep/, by the command that W&B's own agent makes of it."""

import itertools
import re
from unittest import mock

import pytest
import wandb.wandb_agent
import yaml

from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs.results import labels
from tests.support.cli_runner import FEW_IMAGES, REHEARSAL, ROOT, run_cli

SWEEPS = sorted((ROOT / "configs" / "sweep").glob("*.yaml"))
RUNS = {
    **{"table2": 4 * 2 * 6 * 5, "table2_flatten": 2 * 5, "table3": 3 * 2 * 5, "table3_original": 3 * 2 * 5},
    **{"table4": 5 * 5, "dropout": 2 * 2 * 5},
}
COLUMNS = {
    "dropout": {"flatten"},
    "table4": {"original", "avg", "max", "conv1x1", "san"},
    "table2": {"avg", "max", "conv1x1", "san"},
    "table2_flatten": {"flatten"},
    "table3": {"avg", "max", "san"},
    "table3_original": {"avg", "max", "san"},
}
AGGREGATORS = {
    **{"avg": "GlobalAvgPool", "max": "GlobalMaxPool", "conv1x1": "Conv1x1", "san": "SAN", "flatten": "Flatten"},
    "original": "GlobalAvgPool",
}
WIDTHS = {"flatten": 128, "original": 64}  # of those that have one
SIDES = {"cifar": {16, 24, 32, 40, 48}, "fashion_mnist": {14, 22, 28, 42, 56}}
ORIGINAL = {"cifar": {32}, "fashion_mnist": {28}}

pytestmark = pytest.mark.usefixtures("stand_in_images")


def read(file):
    return yaml.safe_load(file.read_text())


def grid(sweep):
    """What the method grid tries."""
    assert sweep["method"] == "grid"
    parameters = {name: parameter["values"] for name, parameter in sweep["parameters"].items()}
    return [dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())]


def corners(file):
    """A run of each config, in turn with the first and the last of all other values, and the order of the options.

    W&B hands them over in that of the alphabet today; the command works in any.
    """
    parameters = read(file)["parameters"]
    for i, config in enumerate(parameters["config"]["values"]):
        end = -(i // 2 % 2)
        others = {name: parameter["values"][end] for name, parameter in parameters.items() if name != "config"}
        run = {"config": config, **others}
        yield file, run if i % 2 else dict(reversed(run.items()))


@pytest.fixture
def command(tmp_path, monkeypatch):
    """What W&B's agent starts for a run of a sweep."""
    for name in ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, str(tmp_path))  # the agent sets them

    def command(sweep, run):
        agent = wandb.wandb_agent.Agent(api=None, queue=None)
        agent._sweep_command = sweep["command"]
        arguments = {name: {"value": value} for name, value in run.items()}
        with mock.patch.object(wandb.wandb_agent, "AgentProcess") as process:
            agent._command_run({"run_id": "first", "program": sweep["program"], "args": arguments})
        return process.call_args.kwargs["command"]

    return command


@pytest.fixture
def trained(monkeypatch):
    """What is trained: labels, and the sides of the images for training and test."""
    seen, step = {}, SetClassifier.training_step

    def note(self, batch, batch_idx):
        data = self.trainer.datamodule
        seen.update(labels(self, data))
        seen["dropout"] = self.head.dropout.p if hasattr(self.head, "dropout") else 0.0
        seen.update({part: {height for height, _ in data.image_sizes[part]} for part in ("train", "test")})
        assert batch[0].shape[2] in seen["train"]
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SetClassifier, "training_step", note)
    return seen


CORNERS = [corner for file in SWEEPS for corner in corners(file)]


@pytest.mark.parametrize(("file", "run"), CORNERS, ids=[f"{file.stem}-{run['config']}" for file, run in CORNERS])
def test_command_trains_what_the_run_says(tmp_path, command, trained, file, run):
    here = tmp_path / "here"
    here.mkdir()
    (here / "configs").symlink_to(ROOT / "configs")  # the agent is started where they are
    env, python, program, *arguments = command(read(file), run)
    assert (env, python, program) == ("/usr/bin/env", "python", "main.py")
    code, _, err = run_cli(here, *arguments, *FEW_IMAGES, *REHEARSAL)
    assert code == 0, err
    pattern = r"configs/([a-z0-9]+)_(?:resnet56_)?(.*?)(?:_multires)?\.yaml"
    aggregator, data = re.fullmatch(pattern, run["config"]).groups()
    assert trained["aggregator"] == AGGREGATORS[aggregator]
    assert trained["seed"] == run["seed_everything"]
    assert trained["width"] == run.get("width", WIDTHS.get(aggregator, 4096 if file.stem == "table4" else 1024))
    assert trained["dropout"] == run.get("model.dropout", 0.0)
    assert trained["test"] == (SIDES if file.stem.startswith("table3") else ORIGINAL)[data]
    assert trained["train"] == (SIDES if file.stem == "table3" else ORIGINAL)[data]


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
class TestFile:
    def test_number_of_runs(self, file):
        runs = grid(read(file))
        assert len(runs) == RUNS[file.stem]
        assert len({tuple(run.items()) for run in runs}) == len(runs)
        assert f": {len(runs)} runs" in file.read_text()

    def test_columns_are_those_of_the_table(self, file):
        ends = ["resnet56_cifar"] if file.stem == "table4" else SIDES
        if file.stem.startswith("table3"):
            ends = [f"{data}_multires" for data in SIDES]
        expected = {f"configs/{column}_{end}.yaml" for column in COLUMNS[file.stem] for end in ends}
        assert set(read(file)["parameters"]["config"]["values"]) == expected

    def test_says_how_to_use_it(self, file):
        sweep = read(file)
        assert f"#   wandb sweep configs/sweep/{file.name}\n" in file.read_text()
        assert f"#   wandb agent ENTITY/{sweep['project']}/ID\n" in file.read_text()

    def test_is_in_the_project_of_the_runs(self, file):
        logger = read(ROOT / "configs" / "logger" / "wandb.yaml")
        assert read(file)["project"] == logger["init_args"]["project"]

    def test_metric_is_that_of_the_best_checkpoint(self, file):
        assert read(file)["metric"] == {"name": "val/accuracy", "goal": "maximize"}

    def test_seeds(self, file):
        assert read(file)["parameters"]["seed_everything"]["values"] == [0, 1, 2, 3, 4]


def test_widths_of_the_table():
    sweep = read(ROOT / "configs" / "sweep" / "table2.yaml")
    assert sweep["parameters"]["width"]["values"] == [128, 256, 512, 1024, 2048, 4096]
