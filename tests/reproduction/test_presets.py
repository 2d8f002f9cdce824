"""Every run of every preset is a command line that the project takes, and says what the preset says."""

from dataclasses import replace
from unittest import mock

import pytest

from reproduction.fit_arguments import fit_arguments
from reproduction.grid import EXPERIMENTS, Choice, expand
from reproduction.presets import OPEN_POINTS, PRESETS, open_point_arguments
from reproduction.settings import Settings
from set_aggregation.cli.lightning_cli import SetAggregationCLI
from tests.support.cli_runner import ROOT


@pytest.fixture(scope="module")
def parse():
    """Gives what the command line makes of arguments, for the subcommand fit."""
    parsers = []

    def note(self, parser, args):
        parsers.append(parser)
        raise InterruptedError

    with mock.patch.object(SetAggregationCLI, "parse_arguments", note), pytest.raises(InterruptedError):
        SetAggregationCLI("fit", [])

    def parse(settings):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            return parsers[0].parse_args(fit_arguments(settings))

    return parse


def cases():
    """Runs of one seed, of which no two differ in the size only; tables that others hold are left out."""
    for preset in PRESETS:
        for experiment in sorted(EXPERIMENTS.keys() - {"figure3", "figure4"}):
            if experiment in ("open_points", "pooling") and preset != "paper":
                continue
            for data in [None, ["digits"]] if preset == "paper" else [None]:
                runs = expand(experiment, Choice(data, seeds=[3], preset=preset))
                of_one_size = {replace(run, size=0).key: run for run in runs}
                for settings in of_one_size.values():
                    yield pytest.param(experiment, settings, id=f"{experiment}-{settings.label}")


@pytest.mark.parametrize(("experiment", "settings"), list(cases()))
def test_command_line_is_taken(parse, experiment, settings):
    config = parse(settings)
    assert config.seed_everything == 3
    assert config.trainer.max_epochs == settings.epochs
    assert config.data.class_path.endswith(
        {"cifar10": "CIFAR10", "fashion_mnist": "FashionMNIST", "digits": "Digits"}[settings.data]
    )
    if settings.train_sizes:
        assert config.data.init_args.train_sizes == settings.train_sizes
    assert config.model.dropout == settings.dropout
    assert config.width == (None if settings.aggregator == "original" else settings.size)
    name = config.model.aggregator.class_path.rsplit(".", 1)[-1].lower()
    pools = {"original": "globalavgpool", "avg": "globalavgpool", "max": "globalmaxpool"}
    assert name == pools.get(settings.aggregator, settings.aggregator.replace("_", ""))


def run_of(preset, aggregator="max", data="cifar10", **more):
    return Settings(data, aggregator, 1024, seed=0, epochs=15, preset=preset, **more)


def test_paper(parse):
    """What the text says is what the configurations say."""
    assert [open_point_arguments(run_of("paper", aggregator)) for aggregator in ("max", "san", "conv1x1")] == [[]] * 3
    config = parse(run_of("paper"))
    data = config.data.init_args
    assert (data.split, data.val_size, data.normalize, data.augment) == ("paper", 5000, False, False)
    assert (config.model.hidden_activation, config.model.initialization) == ("none", "glorot")
    assert parse(run_of("paper", "san")).model.aggregator.init_args.reduction == "sum"
    assert parse(run_of("paper", "conv1x1")).model.aggregator.init_args.channels == 1


def test_code(parse):
    """What the authors' code does."""
    assert parse(run_of("code", "san")).model.aggregator.init_args.reduction == "mean"
    assert parse(run_of("code", "conv1x1")).model.aggregator.init_args.channels == 32
    assert parse(run_of("code")).model.hidden_activation == "none"
    several = parse(run_of("code", data="fashion_mnist", train_sizes="all")).data.init_args
    assert (several.val_size, several.test_size, several.antialias) == (5833, 5833, False)
    assert 70_000 - 2 * 5833 == 58_334
    assert several.sizes == [12, 20, 28, 36, 44]
    cifar = parse(run_of("code", train_sizes="all")).data.init_args
    assert (cifar.val_size, cifar.test_size, cifar.antialias) == (5000, None, False)
    assert cifar.sizes == [16, 24, 32, 40, 48]


def test_modern(parse):
    config = parse(run_of("modern"))
    data = config.data.init_args
    assert (data.split, data.normalize, data.augment) == ("official", True, True)
    assert config.model.hidden_activation == "relu"
    assert parse(run_of("modern", "san")).model.hidden_features is None


def test_override_wins_over_the_preset():
    settings = run_of("modern", overrides={"augment": False})
    assert "--data.augment=false" in open_point_arguments(settings)
    assert "--data.augment=true" not in open_point_arguments(settings)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_say_nothing_but_open_points(preset):
    assert PRESETS[preset].keys() <= OPEN_POINTS.keys()
