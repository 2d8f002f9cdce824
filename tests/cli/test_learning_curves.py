"""Learning curves, results and the page of a run: of one that measures them, and of the same run without.

With dropout, augmentation and sizes that are drawn anew each epoch, that is all that curves could disturb.
"""

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from set_aggregation.data import Digits
from set_aggregation.models.classifier import SetClassifier
from tests.support.cli_runner import CSV, DIGITS, ROOT, SHORT, run_cli

pytestmark = pytest.mark.e2e

EPOCHS = 3
SMALL = ("--data.num_train=64", "--data.val_size=40", "--data.batch_size=32")
RUN = (
    *("--config", str(ROOT / "configs" / "san_digits_multires.yaml"), *CSV, *SMALL, "--data.sizes=[16,18]"),
    *("--data.resample=true", "--data.augment=true", "--model.dropout=0.5", "--model.aggregator.out_features=8"),
    *("--model.aggregator.reduction=mean", "--seed_everything=1"),
    *(f"--trainer.max_epochs={EPOCHS}", "--trainer.log_every_n_steps=1", "--model.optimizer.lr=0.01", "--run.name=a"),
)
QUICK = (*DIGITS, *SHORT, *CSV, *SMALL, "--curves.num_images=9", "--run.name=a")


def fit(folder, *arguments):
    """The folder of the run, and its outcome."""
    outcome = run_cli(folder, "fit", *arguments)
    (run,) = (folder / "lightning_logs").glob("*/a")
    return run, outcome


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("measured"), *RUN, "--curves.every_n_epochs=1", "--curves.num_images=all")


@pytest.fixture(scope="module")
def unmeasured(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("unmeasured"), *RUN, "--curves.every_n_epochs=0")


def read_metrics(run):
    """Rows of metrics.csv, without their empty cells."""
    with (run / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def curve_rows(run):
    return [row for row in read_metrics(run) if "curve/gap" in row]


def results(run):
    return json.loads((run / "results.json").read_text())


def report(run):
    return (run / "report.html").read_text()


def checkpoint(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def data():
    """The data of the runs."""
    module = Digits(sizes=[16, 18], num_train=64, val_size=40, resample=True)
    module.setup("fit")
    return module


# metrics.csv


def test_a_row_each_epoch(measured):
    rows = curve_rows(measured[0])
    assert [row["epoch"] for row in rows] == list(range(EPOCHS))
    assert [row["step"] for row in rows] == [2 * epoch + 1 for epoch in range(EPOCHS)]
    for row in rows:
        assert row["curve/gap"] == pytest.approx(row["curve/train_accuracy"] - row["curve/test_accuracy"], abs=1e-6)


def test_last_values_are_those_of_a_test_of_the_last_checkpoint(measured, here):
    run, _ = measured
    last = ("--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    code, out, _ = run_cli(here, "test", *last)
    assert code == 0
    for name in ("accuracy", "loss"):
        tested = float(re.search(rf"test/{name} \W+([\d.]+)", out)[1])
        assert tested == pytest.approx(curve_rows(run)[-1][f"curve/test_{name}"], rel=1e-5)


def test_other_columns_and_weights_are_the_same_without(measured, unmeasured):
    with_curves = [
        {name: value for name, value in row.items() if not name.startswith("curve/")}
        for row in read_metrics(measured[0])
    ]
    assert [row for row in with_curves if set(row) > {"epoch", "step"}] == read_metrics(unmeasured[0])
    ours, theirs = (checkpoint(run)["state_dict"] for run, _ in (measured, unmeasured))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


# Pictures and table


def test_picture(measured):
    with Image.open(measured[0] / "curves.png") as image:
        image.load()
        assert image.format == "PNG"


def rows(outcome):
    table = outcome.out[outcome.out.index("│ val/accuracy, best") :]
    return dict(re.findall(r"│ (\S.*?) +│ (\S.*?) +│\n", table))


def test_nothing_is_left_of_what_is_turned_off(unmeasured):
    run, outcome = unmeasured
    assert "learning curves took" not in rows(outcome)
    assert not (run / "curves.png").exists()
    assert "curve/" not in (run / "metrics.csv").read_text()
    assert results(run)["curves"] == []
    assert "Not measured" in report(run)


# results.json


def test_results(measured):
    run, _ = measured
    found = results(run)
    best = checkpoint(run, "best")["epoch"]
    accuracies = [row["val/accuracy"] for row in read_metrics(run) if "val/accuracy" in row]
    expected = {"experiment": "san_digits_multires", "run": "a", "aggregator": "SAN", "data": "Digits at 2 sizes"}
    expected |= {"width": 8, "seed": 1, "epochs": EPOCHS, "steps": 2 * EPOCHS}
    expected |= {"best": {"epoch": best + 1, "val/accuracy": accuracies[best]}}
    expected |= {"last": {name: value for name, value in found["metrics"].items() if name.startswith("val/")}}
    assert {name: found[name] for name in expected} == expected
    assert set(found) == {*expected, "metrics", "parameters", "seconds", "environment", "curves"}
    assert set(found["seconds"]) == {"all", "training", "learning curves"}
    assert all(0 < seconds < 600 for seconds in found["seconds"].values())
    assert set(found["environment"]) == {"command", "commit", "devices", "system", "versions"}


def test_results_are_the_last_values_of_the_file(measured):
    run, _ = measured
    last = {name: value for row in read_metrics(run) for name, value in row.items()}
    metrics = results(run)["metrics"]
    assert metrics == {name: value for name, value in last.items() if name not in ("epoch", "step")}
    assert set(metrics) >= {"curve/gap", "train/loss", "val/accuracy/16x16", "test/accuracy/18x18"}


def test_parameters(measured):
    counts = results(measured[0])["parameters"]
    weights = SetClassifier.load_from_checkpoint(
        measured[0] / "checkpoints" / "best.ckpt", weights_only=True
    ).named_parameters()
    sizes = {name: weight.numel() for name, weight in weights}
    for part, prefix in {"backbone": "backbone.", "aggregator": "pool.aggregator.", "head": "head."}.items():
        assert counts[part] == sum(size for name, size in sizes.items() if name.startswith(prefix)) > 0
    assert counts["all"] == sum(sizes.values())


# report.html


@pytest.fixture(scope="module")
def answers(measured, data):
    """Index, truth, prediction and loss of each image of the test set, by the best checkpoint."""
    best = measured[0] / "checkpoints" / "best.ckpt"
    model = SetClassifier.load_from_checkpoint(best, weights_only=True).eval()
    found = []
    for index in range(len(data.parts["test"])):
        images, labels = data.parts["test"][[index]]
        with torch.no_grad():
            scores = model(images / 255)[0].log_softmax(0)
        found.append((index, labels.item(), scores.argmax().item(), -scores[labels].item()))
    return found


def test_page_has_all_counts_of_the_confusion(measured, answers):
    expected = np.zeros((10, 10), dtype=int)
    for _, truth, prediction, _ in answers:
        expected[truth, prediction] += 1
    counts = [int(count) for count in re.findall(r'<td style="background[^>]*>(\d+)</td>', report(measured[0]))]
    assert counts == expected.flatten().tolist()
    accuracy = results(measured[0])["metrics"]["test/accuracy"]
    assert np.trace(expected) / expected.sum() == pytest.approx(accuracy)


def test_page_has_table_configuration_and_environment(measured):
    run, outcome = measured
    page = report(run)
    for name, value in rows(outcome).items():
        assert f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' in page
    assert f"<pre>{(run / 'config.yaml').read_text().strip()}" in page.replace("&#39;", "'")
    for value in results(run)["environment"].values():
        assert value in page.replace("&#39;", "'")


# Other runs


def test_rarely(here):
    """The last epoch, and the epochs between which validation is left out."""
    arguments = ("--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2", "--curves.every_n_epochs=2")
    run, (code, _, err) = fit(here, *QUICK, *arguments)
    assert code == 0, err
    assert [(row["epoch"], "curve/val_loss" in row) for row in curve_rows(run)] == [(1, True), (2, False)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two epochs, whose last checkpoint is gone on from."""
    folder = tmp_path_factory.mktemp("finished")
    run, outcome = fit(folder, *QUICK, "--curves.every_n_epochs=1", "--test_after_fit=false")
    assert "test/accuracy" not in outcome.out + str(read_metrics(run))  # though its curves have the test set
    return run


def go_on(here, finished, *arguments):
    """Goes on from the last checkpoint."""
    last = finished / "checkpoints" / "last.ckpt"
    return fit(here, *QUICK, "--curves.every_n_epochs=1", f"--ckpt_path={last}", *arguments)


def test_curves_go_on(here, finished):
    run, (code, _, err) = go_on(here, finished, "--trainer.max_epochs=4", "--test_after_fit=false")
    assert code == 0, err
    history = checkpoint(finished)["callbacks"]["LearningCurves"]["history"]
    assert results(run)["curves"][:2] == history
    assert [row["epoch"] for row in results(run)["curves"]] == [1, 2, 3, 4]
    assert [row["epoch"] for row in curve_rows(run)] == [2, 3]
