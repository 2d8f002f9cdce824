"""One option for what the paper calls the size."""

import json

import pytest
import torch
import yaml

from tests.support.cli_runner import CSV, DIGITS, SHORT, files_in, run_cli

QUICK = (*DIGITS, *SHORT, *CSV, "--data.num_train=64", "--curves.every_n_epochs=0", "--trainer.max_epochs=1")
REHEARSAL = ("fit", *DIGITS, "--trainer.fast_dev_run=1")


def fit(folder, *arguments):
    """Configuration, results and weights of a run."""
    code, _, err = run_cli(folder, "fit", *arguments)
    assert code == 0, err
    run = max((folder / "lightning_logs" / "san_digits").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    config = yaml.safe_load((run / "config.yaml").read_text())
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return run, config, json.loads((run / "results.json").read_text()), weights


CASES = {
    "SAN": (("--width=5",), 5, None),
    "SAN with a hidden layer": (("--width=5", "--model.hidden_features=9"), 8, 5),
    "avg": (("--model.aggregator=GlobalAvgPool", "--width=5", "--model.hidden_features=9"), None, 5),
}


@pytest.mark.parametrize(("arguments", "out_features", "hidden_features"), CASES.values(), ids=CASES)
def test_is_the_number_of_inputs_of_the_last_layer(here, arguments, out_features, hidden_features):
    run, config, results, weights = fit(here, *QUICK, *arguments)
    assert weights["head.classifier.weight"].shape == (10, 5)
    assert results["width"] == 5
    assert config["width"] is None
    assert config["model"]["hidden_features"] == hidden_features
    assert config["model"]["aggregator"].get("init_args", {}).get("out_features") == out_features
    assert ", width 5, on Digits</h1>" in (run / "report.html").read_text()


def test_configuration_of_the_run_gives_it_again(here):
    run, config, _, weights = fit(here, *QUICK, "--width=5")
    again, config_again, results, weights_again = fit(here, "--config", run / "config.yaml")
    assert again != run
    assert (config_again, results["width"]) == (config, 5)
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)


def test_configuration_of_the_run_takes_another(here):
    run, *_ = fit(here, *QUICK, "--width=5")
    _, config, results, _ = fit(here, "--config", run / "config.yaml", "--width=7")
    assert results["width"] == config["model"]["aggregator"]["init_args"]["out_features"] == 7


def test_equal_to_the_long_way(here):
    weights = [fit(here, *QUICK, size)[3] for size in ("--width=5", "--model.aggregator.out_features=5")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_in_a_file(here):
    (here / "wide.yaml").write_text("width: 6\n")
    assert fit(here, *QUICK, "--config=wide.yaml")[2]["width"] == 6


def refused(folder, *arguments):
    code, out, err = run_cli(folder, *arguments)
    assert code != 0
    assert (out, err.count("\n"), files_in(folder)) == ("", 1, set()), err
    assert err.startswith("error: ")
    return err


@pytest.mark.parametrize("aggregator", ["Flatten", "GlobalMaxPool", "set_aggregation.aggregators.Conv1x1"])
def test_neither_out_features_nor_a_hidden_layer(here, aggregator):
    line = refused(here, *REHEARSAL, f"--model.aggregator={aggregator}", "--width=5")
    name = aggregator.rpartition(".")[2]
    assert f"got --width 5 for {name} without a hidden layer" in line
    assert "--model.hidden_features" in line


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "[]", "true"])
def test_no_number_of_inputs(here, value):
    assert f"got width {value}, expected " in refused(here, *REHEARSAL, f"--width={value}")


def test_of_a_checkpoint(here, run_folder):
    """It is that of the checkpoint, whose model another width does not fit."""
    arguments = ("--config", run_folder / "config.yaml", "--ckpt_path", run_folder / "checkpoints" / "best.ckpt")
    assert run_cli(here, "validate", *arguments, "--width=8").code == 0
    assert "best.ckpt of another model" in refused(here, "validate", *arguments, "--width=9")
