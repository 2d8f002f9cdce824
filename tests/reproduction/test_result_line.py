"""The line that is made of a finished run."""

import json
import os

import pytest
import yaml

from reproduction.result_line import result_line
from reproduction.settings import Settings

SETTINGS = Settings("cifar10", "san", 1024, seed=0, epochs=2)
RESULTS = {
    "metrics": {"val/accuracy": 0.5, "test/accuracy": 0.6, "test/accuracy/8x8": 0.2, "test/accuracy/16x8": 0.3},
    "last": {"val/accuracy": 0.5, "test/accuracy": 0.4, "test/accuracy/8x8": 0.1, "test/accuracy/16x8": 0.7},
    "best": {"epoch": 1, "val/accuracy": 0.55},
    "curves": [{"epoch": 1, "step": 9, "curve/train_accuracy": 0.7, "curve/gap": 0.1}],
    "parameters": {"backbone": 1, "aggregator": 2, "head": 3, "all": 6},
    "seconds": {"all": 12.5, "training": 9.0, "learning curves": 1.0},
    "environment": {"command": "python main.py fit '--run.root=my logs' --width=8", "commit": "abc"},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    os.utime(tmp_path / "results.json", (1_000_000_000, 1_000_000_000))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": {"init_args": {"split": "official"}}}))
    return tmp_path


def test_line(folder):
    assert result_line(SETTINGS, folder) == {
        "settings": SETTINGS.as_dict(),
        "split": "official",
        "test_accuracy": {"best": 0.6, "last": 0.4},
        "test_accuracy_per_size": {"best": {"8x8": 0.2, "16x8": 0.3}, "last": {"8x8": 0.1, "16x8": 0.7}},
        "val_accuracy": {"best": 0.55, "last": 0.5},
        "best_epoch": 1,
        "curves": [{"epoch": 1, "step": 9, "train_accuracy": 0.7, "gap": 0.1}],
        "parameters": RESULTS["parameters"],
        "seconds": 12.5,
        "finished": "2001-09-09T01:46:40Z",
        "environment": {"command": "python main.py fit --width=8", "commit": "abc"},
    }


def test_images_of_one_size_have_no_accuracy_per_size(folder):
    one_size = {name: {"val/accuracy": 0.5, "test/accuracy": 0.6} for name in ("metrics", "last")}
    (folder / "results.json").write_text(json.dumps(RESULTS | one_size))
    assert result_line(SETTINGS, folder)["test_accuracy_per_size"] == {}


def test_data_without_a_choice_of_splits(folder):
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": {"init_args": {}}}))
    assert result_line(SETTINGS, folder)["split"] == "paper"
