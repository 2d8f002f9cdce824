"""What a person sees at the end, and what not."""

import csv
import logging
import re
import shlex
import shutil
import warnings

import pytest
import torch

from set_aggregation.cli.silence import set_lightning_level, silence_libraries
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.reports import summary
from set_aggregation.reports.summary import relative
from tests.support.cli_runner import CSV, DIGITS, SHORT, run_cli


@pytest.fixture(scope="module")
def printed(trained):
    """Standard output of the training."""
    return trained[1].out


@pytest.fixture(scope="module")
def table(printed):
    """Names and values of the table."""
    return dict(re.findall(r"│ (\S.*?) +│ (\S.*?) +│\n", printed[printed.index("val/accuracy, best") - 2 :]))


@pytest.fixture(scope="module")
def commands(printed):
    """What each command is for, and the command."""
    return dict(re.findall(r"^(\S.*):\n  (.+)$", printed, re.MULTILINE))


def metric(run_folder, name):
    with (run_folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


@pytest.mark.e2e
def test_accuracies_are_those_of_the_file(table, run_folder):
    val, test = metric(run_folder, "val/accuracy"), metric(run_folder, "test/accuracy")
    assert table["val/accuracy, best"] == f"{max(val):.4f} after epoch {val.index(max(val)) + 1}"
    assert table["val/accuracy, last"] == f"{val[-1]:.4f}"
    assert table["test/accuracy, best checkpoint"] == f"{test[-1]:.4f}"


@pytest.mark.e2e
def test_parameters(table, run_folder):
    model = SetClassifier.load_from_checkpoint(run_folder / "checkpoints" / "best.ckpt", weights_only=True)
    count = sum(weight.numel() for weight in model.parameters())
    backbone = sum(weight.numel() for weight in model.backbone.parameters())
    assert table["parameters, all"] == f"{count:,}"
    assert table["parameters, aggregator + head"] == f"{count - backbone:,}"


@pytest.mark.e2e
def test_says_where_everything_lies(commands, trained, run_folder):
    assert trained[0] / commands["everything is in"].removeprefix("RUN=") == run_folder


@pytest.mark.e2e
def test_commands_for_wandb_name_its_folders(commands):
    assert commands["look at the curves"] == "wandb leet $RUN/wandb"
    assert commands["send them to W&B"] == "wandb sync $RUN/wandb/offline-run-*"


@pytest.mark.e2e
def test_command_that_tests_it_again_does(commands, trained, run_folder, tmp_path):
    here = shutil.copytree(trained[0], tmp_path / "copy")
    folder = commands["everything is in"].removeprefix("RUN=")
    python, program, *arguments = shlex.split(commands["test it again"].replace("$RUN", folder))
    assert (python, program) == ("python", "main.py")
    code, out, err = run_cli(here, *arguments)
    assert (code, err) == (0, "")
    assert float(re.search(r"test/accuracy\W+([\d.]+)", out)[1]) == pytest.approx(
        metric(run_folder, "test/accuracy")[-1]
    )


@pytest.mark.e2e
def test_standard_error_says_why_training_stopped_and_no_more(trained):
    assert trained[1].err == "`Trainer.fit` stopped: `max_epochs=2` reached.\n"


@pytest.mark.e2e
def test_no_advertisement(trained):
    for word in ("Tip", "litlogger", "litmodels", "🤗", "💡", "wandb:"):
        assert word not in trained[1].out + trained[1].err


@pytest.mark.e2e
def test_advice_on_workers_is_silenced(here, monkeypatch):
    """On a machine of many cores: batches come from memory by indexing, workers would only copy them."""
    connector = "lightning.pytorch.trainer.connectors.data_connector"
    monkeypatch.setattr(f"{connector}.suggested_max_num_workers", lambda devices: 16)
    code, _, err = run_cli(here, "fit", *DIGITS, "--trainer.fast_dev_run=1")
    assert (code, err) == (0, "`Trainer.fit` stopped: `max_steps=1` reached.\n")


def test_advertisement_is_silenced_by_message(caplog):
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    silence_libraries()
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        set_lightning_level(logging.INFO)
        parent = logging.getLogger("lightning.pytorch")
        parent.addHandler(caplog.handler)
        logger.info("💡 Tip: For seamless cloud logging and experiment tracking, try ours")
        logger.info("`Trainer.fit` stopped")
        parent.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"`Trainer.fit` stopped"}


@pytest.mark.e2e
def test_another_warning_is_still_heard(here, monkeypatch):
    step = SetClassifier.training_step

    def warn(self, batch, batch_idx):
        warnings.warn("the roof is on fire", stacklevel=1)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SetClassifier, "training_step", warn)
    with pytest.raises(UserWarning, match="the roof is on fire"):  # an error, in tests
        run_cli(here, "fit", *DIGITS, *SHORT, *CSV)


def test_path_below_the_working_folder_is_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert relative(tmp_path / "a" / "b") == "a/b"
    assert relative(tmp_path.parent / "c") == str(tmp_path.parent / "c")


def test_rows_of_sizes_follow_each_other_by_number_of_pixels():
    sizes = ["100x9", "16x16", "8x100", "8x8", "24x8", "8x12"]
    metrics = {f"test/accuracy/{size}": torch.tensor(number / 7) for number, size in enumerate(sizes)}
    metrics |= {"test/accuracy": torch.tensor(0.25), "test/loss": torch.tensor(2.0), "val/accuracy/8x8": torch.ones(())}
    rows = summary.test_rows(metrics, "last")
    assert list(rows) == [
        "test/accuracy, last",
        *(f"test/accuracy/{size}, last" for size in ("8x8", "8x12", "24x8", "16x16", "8x100", "100x9")),
    ]
    assert rows["test/accuracy, last"] == "0.2500"
    assert rows["test/accuracy/8x12, last"] == "0.7143"
    assert rows["test/accuracy/16x16, last"] == "0.1429"
