"""``--test_last``: what the weights of the last epoch reach, beside those that were best."""

import json

import pytest

from tests.support.cli_runner import CSV, ROOT, SHORT, run_cli

MULTIRES = ("--config", str(ROOT / "configs" / "san_digits_multires.yaml"))
# So fast that it forgets: the best epoch is not the last.
TRAINING = (
    "fit",
    *MULTIRES,
    *SHORT,
    *CSV,
    "--trainer.max_epochs=4",
    "--model.optimizer=Adam",
    "--model.optimizer.lr=0.03",
)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    for name, more in {"with": ("--test_last=true",), "without": ()}.items():
        code, _, err = run_cli(folder, *TRAINING, f"--run.name={name}", *more)
        assert code == 0, err
    return folder


def run_of(here, name):
    return here / "lightning_logs" / "san_digits_multires" / name


def results(here, name):
    return json.loads((run_of(here, name) / "results.json").read_text())


@pytest.mark.parametrize(("weights", "key"), [("last", "last"), ("best", "metrics")])
def test_is_what_a_test_of_the_checkpoint_says(here, weights, key):
    run, found = run_of(here, "with"), results(here, "with")
    assert found["best"]["epoch"] < found["epochs"]
    checkpoint = ("--ckpt_path", run / "checkpoints" / f"{weights}.ckpt")
    code, out, err = run_cli(here, "test", "--config", run / "config.yaml", *checkpoint)
    assert code == 0, err
    said = {}
    for line in out.splitlines():
        words = line.replace("│", " ").split()
        if len(words) == 2 and words[0].startswith("test/"):
            said[words[0]] = float(words[1])
    assert {"test/accuracy", "test/accuracy/8x8", "test/accuracy/24x24"} <= said.keys()
    assert {name: value for name, value in found[key].items() if name.startswith("test/")} == pytest.approx(said)


def test_validation_accuracy_of_the_last_epoch(here):
    found = results(here, "with")
    assert found["last"]["val/accuracy"] == found["curves"][-1]["curve/val_accuracy"]
    assert found["last"]["val/accuracy"] != found["best"]["val/accuracy"]


def test_changes_nothing_else(here):
    """Loggers hear of the weights only that the run ends with."""
    metrics = [(run_of(here, name) / "metrics.csv").read_bytes() for name in ("with", "without")]
    assert metrics[0] == metrics[1]
    a, b = results(here, "with"), results(here, "without")
    assert all(a[name] == b[name] for name in ("metrics", "best", "curves", "steps"))
    assert {name for name in a["last"] if name.startswith("test/")}
    assert not {name for name in b["last"] if name.startswith("test/")}
