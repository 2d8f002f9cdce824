"""What the W&B file of a whole run holds: all that is promised, with the numbers of metrics.csv."""

import csv
import json

import pytest
import yaml

from tests.support.cli_runner import CSV, DIGITS, SHORT, run_cli
from tests.support.wandb_file import read

pytestmark = pytest.mark.e2e

EACH_EPOCH = ("curve/", "val/", "test/")
SPEED = "throughput/images_per_second"  # which metrics.csv leaves out: it is not the same for the same run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run that measures its curves each epoch, at several sizes, and keeps its best checkpoint in W&B."""
    here = tmp_path_factory.mktemp("wandb_run")
    logger = {"class_path": "WandbLogger", "init_args": {"project": "mine", "log_model": True, "tags": ["own"]}}
    code, _, err = run_cli(
        *(here, "fit", *DIGITS, "--data=Digits", "--data.sizes=[8, 12]", *SHORT),
        *("--curves.every_n_epochs=1", "--curves.num_images=50", *CSV),
        *(f"--trainer.logger+={json.dumps(logger)}", "--seed_everything=3"),
    )
    assert code == 0, err
    (folder,) = (here / "lightning_logs" / "san_digits").iterdir()
    return folder


@pytest.fixture(scope="module")
def sent(folder):
    return read(folder)


@pytest.fixture(scope="module")
def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def metrics(rows):
    return {name for row in rows for name in row} - {"epoch", "step"}


def test_every_number_of_metrics_csv_is_there(sent, rows, metrics):
    assert {"curve/train_accuracy", "curve/val_accuracy", "curve/test_accuracy", "curve/gap"} < metrics
    assert {"curve/train_loss", "curve/val_loss", "curve/test_loss", "test/accuracy/12x12"} < metrics
    for name in metrics:
        # metrics.csv counts epochs from 0 while it trains.
        shift = not name.startswith("test/")
        written = [(row["epoch"] + shift, row["step"], row[name]) for row in rows if name in row]
        assert sent.columns("epoch", "trainer/global_step", name) == written


def test_nothing_else_is_there(sent, metrics):
    ours = {name for row in sent.history for name in row if not name.startswith("_")}
    assert ours == metrics | {
        *("epoch", "trainer/global_step", SPEED, "test/confusion_matrix_table", "test/worst_misclassifications")
    }


def test_epoch_is_the_x_axis_of_what_is_measured_each_epoch(sent, metrics):
    each_epoch = {name for name in metrics if name.startswith(EACH_EPOCH)}
    assert {name for name, axis in sent.x_axes.items() if axis == "epoch"} == each_epoch


@pytest.mark.parametrize(("name", "best"), [("accuracy", max), ("loss", min)])
@pytest.mark.parametrize("part", ["curve/train_", "curve/val_", "curve/test_", "val/"])
def test_summary_has_best_and_last(sent, rows, part, name, best):
    values = [row[part + name] for row in rows if part + name in row]
    assert len(values) == 2
    assert sent.summary[part + name] == {best.__name__: best(values), "last": values[-1]}


def test_config_is_complete_and_says_what_the_run_is_of(sent, folder):
    config = dict(sent.config)
    config.pop("_wandb")
    results = json.loads((folder / "results.json").read_text())
    labels = config.pop("labels")
    counts = results["parameters"]
    assert labels == {
        **{name: results[name] for name in ("aggregator", "data", "width", "seed")},
        "parameters": counts["aggregator"] + counts["head"],
    }
    assert labels["seed"] == 3
    assert config == yaml.safe_load((folder / "config.yaml").read_text())


def test_names(sent, folder):
    assert (sent.name, sent.group, sent.project) == (folder.name, "san_digits", "mine")
    assert sent.tags == ["own", "SAN", "Digits", "width 8"]
    assert (folder / "wandb_run_id").read_text() == sent.run_id
    assert sent.exit_code == 0


def test_confusion_matrix_counts_every_test_image_once(sent, folder):
    (table,) = [row["test/confusion_matrix_table"] for row in sent.history if "test/confusion_matrix_table" in row]
    (file,) = folder.rglob(table["path"].rsplit("/", 1)[-1])
    data = json.loads(file.read_text())["data"]
    assert len(data) == 100
    right = sum(count for truth, answer, count in data if truth == answer)
    accuracy = json.loads((folder / "results.json").read_text())["metrics"]["test/accuracy"]
    assert right / sum(count for _, _, count in data) == pytest.approx(accuracy, abs=1e-6)


def test_worst_misclassifications_are_pictures_with_captions(sent, folder):
    (panel,) = [row["test/worst_misclassifications"] for row in sent.history if "test/worst_misclassifications" in row]
    assert len(panel["filenames"]) == 32
    assert all(any(folder.rglob(name.rsplit("/", 1)[-1])) for name in panel["filenames"])
    assert all(" classified as " in caption for caption in panel["captions"])


def test_best_checkpoint_is_an_artifact(sent):
    (artifact,) = [artifact for artifact in sent.artifacts if artifact.type == "model"]
    assert (artifact.name, sorted(artifact.aliases)) == (f"model-{sent.run_id}", ["best", "latest"])
