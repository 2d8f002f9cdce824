"""What identifies a run, and its command line."""

import re
from dataclasses import asdict, replace

import pytest
import yaml

from reproduction.grid import expand
from reproduction.run_spec import OPTIONS, PRESETS, RunSpec, as_words, fit_arguments
from tests.support.cli_runner import ROOT

SAN = RunSpec("cifar10", "san", 1024, seed=0, epochs=15)
RESNET = RunSpec("cifar10", "max", 4096, seed=0, epochs=15, backbone="resnet56")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"data": "digits"},
        {"preset": "modern"},
        {"train_sizes": "all"},
        {"dropout": 0.5},
        {"overrides": {"augment": True}},
    ],
)
def test_other_settings_are_another_run(change):
    other = replace(SAN, **change)
    assert other.key != SAN.key
    assert other.name != SAN.name
    assert other.label != SAN.label
    assert other == RunSpec(**asdict(other))


def test_key_and_name_do_not_depend_on_the_type_of_zero():
    assert replace(SAN, dropout=0).key == SAN.key
    assert replace(SAN, dropout=0).name == SAN.name


def test_names_are_names_of_folders():
    for run in expand("ablations"):
        assert re.fullmatch(r"[\w-]+", run.name)


@pytest.mark.parametrize("experiment", ["table2", "table3", "table4", "dropout", "ablations", "pooling"])
def test_files_exist(experiment):
    for data in (None, ["digits"]):
        for run in expand(experiment, seeds=[0], data=data):
            for name in ("config", "model", "model.aggregator", "data"):
                assert (ROOT / fit_arguments(run).get(name, "")).exists()


def test_aggregator_comes_after_the_experiment():
    assert list(fit_arguments(RESNET))[:2] == ["config", "model"]
    assert fit_arguments(RESNET)["model"] == "configs/model/max.yaml"
    assert fit_arguments(RESNET)["config"] == "configs/san_resnet56_cifar.yaml"
    assert fit_arguments(replace(SAN, aggregator="gem"))["model.aggregator"] == "configs/aggregator/gem.yaml"


def test_original_has_no_width():
    assert "--width=null" in as_words(fit_arguments(replace(RESNET, aggregator="original", size=64)))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (replace(SAN, preset="authors_code"), {"model.aggregator.reduction": "mean"}),
        (
            replace(RESNET, backbone="small_cnn", preset="modern"),
            {"data.split": "official", "data.normalize": True, "data.augment": True, "model.hidden_activation": "relu"},
        ),
        (replace(SAN, train_sizes="original"), {"data.train_sizes": "original"}),
        (replace(SAN, train_sizes="all", preset="authors_code"), {"data.antialias": False}),
        (
            replace(SAN, data="fashion_mnist", train_sizes="all", preset="authors_code"),
            {"data.sizes": [12, 20, 28, 36, 44]},
        ),
        (
            replace(SAN, data="digits", train_sizes="all"),
            {"data": "configs/data/digits.yaml", "data.sizes": [8, 12, 16, 20, 24]},
        ),
        (replace(SAN, overrides={"positions": "none"}), {"model.positions": "none"}),
        (replace(SAN, dropout=0.5), {"model.dropout": 0.5}),
    ],
)
def test_arguments(run, expected):
    assert expected.items() <= fit_arguments(run).items()


def test_preset_sets_only_what_a_run_has():
    assert (
        not {"data.antialias", "data.sizes", "model.aggregator.channels"}
        & fit_arguments(replace(SAN, preset="authors_code")).keys()
    )
    assert "model.hidden_activation" not in fit_arguments(replace(SAN, preset="modern"))
    assert "data.split" not in fit_arguments(replace(SAN, preset="modern", data="digits"))


def test_short_preset_is_for_the_resnet():
    arguments = fit_arguments(replace(RESNET, preset="short"))
    assert arguments["trainer.precision"] == "bf16-mixed"
    assert arguments["model.scheduler"] == "configs/scheduler/one_cycle.yaml"
    config = yaml.safe_load((ROOT / arguments["model.scheduler"]).read_text())
    assert config["class_path"].endswith("OneCycleLR")
    assert "total_steps" not in config.get("init_args", {})  # those of the training
    assert fit_arguments(replace(SAN, preset="short")) == fit_arguments(SAN)


def test_presets_consist_of_options():
    assert set(PRESETS) == {"paper", "authors_code", "modern", "short"}
    for preset in PRESETS.values():
        assert set(preset) <= set(OPTIONS)
