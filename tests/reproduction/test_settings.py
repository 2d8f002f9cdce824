"""What identifies a run."""

import json
from dataclasses import replace

import pytest

from reproduction.grid import EXPERIMENTS, Choice, expand
from reproduction.presets import PRESETS
from reproduction.settings import Settings, key_of

SETTINGS = Settings("cifar10", "san", 1024, seed=0, epochs=15)
OTHERS = {
    **{"data": "digits", "aggregator": "max", "size": 128, "seed": 1, "epochs": 40, "preset": "code"},
    **{"backbone": "resnet56", "train_sizes": "all", "dropout": 0.5, "overrides": {"reduction": "mean"}},
}


def test_as_they_stand_in_the_results():
    assert SETTINGS.as_dict() == {
        **{"preset": "paper", "data": "cifar10", "backbone": "small_cnn", "aggregator": "san", "size": 1024},
        **{"train_sizes": None, "dropout": 0.0, "overrides": {}, "epochs": 15, "seed": 0},
    }


@pytest.mark.parametrize("name", SETTINGS.as_dict())
def test_every_one_makes_another_run(name):
    other = replace(SETTINGS, **{name: OTHERS[name]})
    assert other.key != SETTINGS.key
    assert other.name != SETTINGS.name
    assert other.label != SETTINGS.label


def test_key_survives_the_file():
    line = json.loads(json.dumps(replace(SETTINGS, overrides={"augment": True}).as_dict(), sort_keys=True))
    assert key_of(line) == replace(SETTINGS, overrides={"augment": True}).key


def test_no_two_runs_of_the_paper_share_a_folder():
    runs = {
        settings.key: settings.name
        for preset in PRESETS
        for experiment in EXPERIMENTS
        if preset == "paper" or experiment not in ("open_points", "pooling")
        for settings in expand(experiment, Choice(preset=preset))
    }
    assert len(set(runs.values())) == len(runs) > 1000


def test_name_stays():
    """A run that was interrupted is found again by it, after an update too."""
    assert SETTINGS.name == "cifar10-san-1024-seed0-15epochs-c61798f6"
