"""Sources of a model; tests/cli/test_loading.py loads those of a real run."""

import pytest
import torch

from set_aggregation import load
from set_aggregation.inference.loading import find_file
from tests.support.small_classifier import classifier, noise

TRAINING = {"data": "Insects", "seed": 7, "metrics": {"test/accuracy": 0.5}}


@pytest.fixture
def model():
    return classifier()


@pytest.fixture
def checkpoint(model, tmp_path):
    content = {
        "state_dict": model.network.state_dict() | {"loss.weight": torch.ones(3)},
        "hyper_parameters": model.config["network"] | {"optimizer": {"class_path": "no.Such"}},
        "images": model.config["images"],
        "training": TRAINING,
        "epoch": 3,
    }
    torch.save(content, tmp_path / "moved.ckpt")
    return tmp_path / "moved.ckpt"


def test_a_checkpoint_alone_is_enough(model, checkpoint):
    loaded, images = load(checkpoint), noise(2, 1, 16, 16)
    assert torch.equal(loaded(images), model(images))
    assert loaded.config == {**model.config, "training": {**TRAINING, "epoch": 4}}
    assert not loaded.training


def test_the_best_checkpoint_of_a_run_is_taken_first(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for file in (tmp_path / "model.safetensors", folder / "last.ckpt", folder / "best.ckpt"):
        file.touch()
        assert find_file(tmp_path) == file
    assert find_file(folder / "last.ckpt") == folder / "last.ckpt"


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing", "not found: .*nothing; expected the folder of a run"), (".", "got the folder .* without checkpoints")],
)
def test_other_sources_are_refused(name, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hyper_parameters": None, "images": None}, "without hyper_parameters and images; expected a checkpoint of"),
        ({"state_dict": {"more": torch.ones(1)}}, "another model: its "),
    ],
)
def test_other_checkpoints_are_refused(changes, words, checkpoint):
    content = torch.load(checkpoint) | changes
    torch.save({name: value for name, value in content.items() if value is not None}, checkpoint)
    with pytest.raises(ValueError, match=words):
        load(checkpoint)
