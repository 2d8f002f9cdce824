"""What the Hugging Face Hub takes and gives, without the Hub."""

import importlib
import json
import sys

import pytest
import torch
from huggingface_hub import ModelCard

from set_aggregation import ImageClassifier, load
from set_aggregation._extras import MissingExtraError
from tests.support.small_classifier import classifier, noise


@pytest.fixture(scope="module")
def model():
    built = classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    network = built.config["network"] | {"initialization": "glorot", "image_size": (16, 16)}  # as of a checkpoint
    return ImageClassifier(network, built.config["images"], {"data": "Insects", "seed": 7})


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("read", [ImageClassifier.from_pretrained, load], ids=["from_pretrained", "load"])
def test_round_trip_is_bitwise(model, saved, read):
    found = read(saved)
    assert found.config == model.config
    images = noise(2, 3, 16, 16)
    assert torch.equal(found(images), model(images))
    assert not found.training


def test_the_files_are_those_that_the_hub_knows(model, saved):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert json.loads((saved / "config.json").read_text()) == model.config


def test_the_card_has_what_the_hub_looks_for(saved):
    card = ModelCard.load(saved / "README.md")
    assert card.data.library_name == "set-aggregation"
    assert card.data.pipeline_tag == "image-classification"
    assert "# SAN on Insects" in card.text
    assert "| seed | 7 (one run) |" in card.text
    assert "images/s (torch " in card.text


def test_the_lines_on_the_card_run(saved, tmp_path, monkeypatch):
    from tests.support.small_classifier import picture

    monkeypatch.chdir(tmp_path)
    picture().save("picture.png")
    lines = ModelCard.load(saved / "README.md").text.split("```python\n")[1].split("```")[0]
    names = {}
    exec(lines.replace("REPOSITORY_OR_FOLDER", str(saved)), names)
    assert names["logits"].shape == (1, 3)


def test_what_is_saved_is_sent(model, monkeypatch, saved):
    sent = {}

    class Api:
        def __init__(self, token):
            pass

        def create_repo(self, repo_id, **_):
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, folder_path, repo_id, **_):
            sent[repo_id] = {path.name: path.read_bytes() for path in folder_path.iterdir()}
            return "https://example.org/commit"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    assert model.push_to_hub("me/insects") == "https://example.org/commit"
    files = sent["me/insects"]
    assert set(files) == {"README.md", "config.json", "model.safetensors"}
    assert files["config.json"] == (saved / "config.json").read_bytes()


def test_weights_that_are_missing_are_an_error(model, tmp_path):
    from safetensors.torch import save_file

    model.save_pretrained(tmp_path)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    weights.pop("network.head.classifier.bias")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"network.head.classifier.bias"):
        ImageClassifier.from_pretrained(tmp_path)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    spec = importlib.util.find_spec("set_aggregation.inference.hub")
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    for act in (
        lambda: without.HubModel().save_pretrained("folder"),
        lambda: without.HubModel().push_to_hub("me/insects"),
        lambda: without.HubModel.from_pretrained("me/insects"),
    ):
        with pytest.raises(MissingExtraError, match=r"got no huggingface_hub, .*'set-aggregation\[export\]'"):
            act()
