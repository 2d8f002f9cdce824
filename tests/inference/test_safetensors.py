"""One file with weights and what they are of."""

import sys
from pathlib import Path

import pytest
import torch

from set_aggregation import load, save_safetensors
from set_aggregation._extras import MissingExtraError
from tests.support.small_classifier import classifier, noise


def test_round_trip_is_bitwise(tmp_path):
    model = classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0], training={"seed": 7})
    save_safetensors(model, tmp_path / "a.safetensors")
    read = load(tmp_path / "a.safetensors")
    assert read.config == model.config
    weights = read.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
    images = noise(2, 3, 16, 16)
    assert torch.equal(read(images), model(images))
    assert not read.training
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_was_there_stays_when_it_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "a.safetensors"
    save_safetensors(classifier(), file)
    before = file.read_bytes()

    def tear(model, name, metadata):
        Path(name).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_model", tear)
    with pytest.raises(OSError, match="No space left"):
        save_safetensors(classifier(), file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_torn_file_is_refused(tmp_path):
    file = tmp_path / "a.safetensors"
    save_safetensors(classifier(), file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"got .*a.safetensors, which is damaged or no safetensors file"):
        load(file)


def test_weights_of_another_program_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="does not say of what model it is; expected a file of save_safetensors"):
        load(tmp_path / "a.safetensors")


def test_weights_of_another_model_are_refused(tmp_path):
    model = classifier()
    model.network.head.classifier = torch.nn.Linear(6, 5)
    save_safetensors(model, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"whose weights are not those of its model: .*classifier") as raised:
        load(tmp_path / "a.safetensors")
    assert "\n" not in str(raised.value)


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    save_safetensors(classifier(), tmp_path / "a.safetensors")
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    for act in (lambda: load(tmp_path / "a.safetensors"), lambda: save_safetensors(classifier(), tmp_path / "b")):
        with pytest.raises(MissingExtraError, match=r"got no safetensors.*: pip install 'set-aggregation\[export\]'"):
            act()
