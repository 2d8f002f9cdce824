"""The workspace, without W&B: what it shows is what runs log."""

import pytest
import wandb
import yaml

from set_aggregation.loggers.wandb_workspace import specification, workspace
from tests.cli.test_runs import MULTIRES, only_run, read_metrics
from tests.support.cli_runner import CSV, SHORT, run_cli

LABELS = {"aggregator", "data", "width", "parameters"}  # in W&B's configuration of a run, beside config.yaml
SECTIONS = [
    "Curves by width",
    "Gap against width",
    "Accuracy per resolution",
    "Confusion matrix and worst mistakes",
    "Table of runs",
]


@pytest.fixture
def sent():
    return specification(workspace("me", "mine"))


@pytest.fixture
def section(sent):
    return sent["spec"]["section"]


@pytest.fixture
def panels(section):
    """Panels of each section."""
    sections = section["panelBankConfig"]["sections"]
    return {each["name"]: each["panels"] for each in sections}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run on images of several sizes."""
    here = tmp_path_factory.mktemp("run")
    assert run_cli(here, "fit", *MULTIRES, *SHORT, *CSV).code == 0
    return only_run(here, "san_digits_multires")


@pytest.fixture(scope="module")
def logged(run):
    """What runs log."""
    metrics = {name for row in read_metrics(run) for name in row}
    digits = {f"test/accuracy/{side}x{side}" for side in (8, 12, 16, 20, 24)}
    assert digits < metrics
    sides = (16, 24, 32, 40, 48, 14, 22, 28, 42, 56)
    return metrics | {f"test/accuracy/{side}x{side}" for side in sides}


@pytest.fixture(scope="module")
def config(run):
    """What W&B knows of a run, by the names it gives to it."""

    def names(prefix, value):
        if not isinstance(value, dict):
            return {prefix}
        return {name for key, each in value.items() for name in names(f"{prefix}.{key}", each)}

    known = {**yaml.safe_load((run / "config.yaml").read_text()), "labels": dict.fromkeys(LABELS)}
    return {name for key, value in known.items() for name in names(f"{key}.value", value)}


def keys(panel):
    """Metrics and configuration that a panel names, as section and name."""
    config = panel["config"]
    for metric in config.get("metrics", []):
        yield "summary", metric
    for axis in ("xAxis", "yAxis"):
        if axis in config:
            yield config[axis].split(":", 1) if ":" in config[axis] else ("summary", config[axis])
    if "groupBy" in config:
        yield "config", config["groupBy"]


def test_sections(panels):
    assert list(panels) == SECTIONS
    assert [len(each) for each in panels.values()] == [6, 4, 3, 2, 1]


def test_every_metric_is_one_that_runs_log(panels, logged, config):
    named = [tuple(key) for each in panels.values() for panel in each for key in keys(panel)]
    assert {name for section, name in named if section == "summary"} <= logged
    assert {name for section, name in named if section == "config"} <= config
    assert {section for section, _ in named} == {"summary", "config"}


def test_curves_are_against_the_epoch(panels):
    curves = panels["Curves by width"]
    assert {panel["config"]["xAxis"] for panel in curves} == {"epoch"}
    metrics = [metric for panel in curves for metric in panel["config"]["metrics"]]
    assert metrics[:3] == ["curve/train_accuracy", "curve/val_accuracy", "curve/test_accuracy"]
    assert len(set(metrics)) == 6


def test_gap_is_against_width_and_by_aggregator(panels):
    gap, accuracy, aggregator, experiment = (panel["config"] for panel in panels["Gap against width"])
    assert (gap["xAxis"], gap["yAxis"]) == ("config:labels.value.width", "summary:curve/gap")
    assert (accuracy["xAxis"], accuracy["yAxis"]) == ("config:labels.value.width", "summary:test/accuracy")
    assert (aggregator["metrics"], aggregator["groupBy"]) == (["curve/gap"], "labels.value.aggregator")
    assert experiment["metrics"] == ["curve/gap"]
    assert "groupBy" not in experiment


def test_every_resolution_has_its_bar(panels):
    titles = {panel["config"]["chartTitle"]: panel["config"]["metrics"] for panel in panels["Accuracy per resolution"]}
    assert titles["Test accuracy by size, CIFAR-10"] == [
        f"test/accuracy/{side}x{side}" for side in (16, 24, 32, 40, 48)
    ]
    assert titles["Test accuracy by size, Fashion-MNIST"][0] == "test/accuracy/14x14"
    assert titles["Test accuracy by size, digits"][0] == "test/accuracy/8x8"


def test_pictures_of_the_test(panels):
    chart, mistakes = (panel["config"] for panel in panels["Confusion matrix and worst mistakes"])
    assert mistakes["mediaKeys"] == ["test/worst_mistakes"]
    ours = wandb.plot.confusion_matrix(preds=[0, 1], y_true=[0, 1])
    ours.set_key("test/confusion_matrix")
    assert chart["panelDefId"] == ours.spec.spec_name
    assert chart["fieldSettings"] == ours.spec.fields
    (query,) = chart["userQuery"]["queryFields"]
    (table,) = [field for field in query["fields"] if field["name"] == "summaryTable"]
    assert [(each["name"], each["value"]) for each in table["args"]] == [("tableKey", ours.spec.table_key)]


def test_a_group_of_runs_differs_in_its_seeds(section, config):
    (runs,) = section["runSets"]
    assert runs["grouping"] == [
        {"section": "run", "name": "group"},  # the experiment
        {"section": "config", "name": "labels.value.width"},
        {"section": "config", "name": "data.value.init_args.train_sizes"},
    ]
    assert {key["name"] for key in runs["grouping"][1:]} <= config
    assert section["settings"]["useRunsTableGroupingInPanels"]
    panels = [panel for each in section["panelBankConfig"]["sections"] for panel in each["panels"]]
    grouped = [panel["config"] for panel in panels if "metrics" in panel["config"]]
    assert len(grouped) == 6 + 2 + 3
    assert all((each["groupAgg"], each["groupArea"]) == ("mean", "stderr") for each in grouped)


def test_no_group_of_table_2_is_left_out(section):
    groups = 8 * 6 + 2
    assert section["settings"]["maxRuns"] >= groups
    panels = [panel["config"] for each in section["panelBankConfig"]["sections"] for panel in each["panels"]]
    assert all(each["limit"] >= groups for each in panels if "metrics" in each)


def test_columns_of_the_table(section, logged, config):
    (runs,) = section["runSets"]
    columns = runs["runFeed"]["columnOrder"]
    assert set(columns) == set(runs["runFeed"]["columnPinned"])
    assert {"summary:val/accuracy.max", "summary:test/accuracy", "summary:curve/gap"} <= set(columns)
    named = [column.split(":", 1) for column in columns]
    assert {name.removesuffix(".max") for kind, name in named if kind == "summary"} <= logged
    assert {name for kind, name in named if kind == "config"} <= config
    assert {f"labels.value.{label}" for label in LABELS} | {"seed_everything.value"} <= {name for _, name in named}
    assert [key["key"]["name"] for key in runs["sort"]["keys"]] == ["test/accuracy"]


def test_specification_is_read_back_as_it_is(sent):
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.workspaces import internal

    again = ws.Workspace._from_model(internal.View.model_validate(sent))
    assert specification(again) == sent
