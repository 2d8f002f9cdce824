import sys
from pathlib import Path

import pytest
import torch

from set_aggregation import load, save_safetensors
from set_aggregation._extras import MissingExtraError
from set_aggregation.inference.classifier import read_safetensors as read
from tests.support.small_classifier import classifier, noise


def test_round_trip_is_bitwise(tmp_path):
    model = classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0], training={"seed": 7})
    save_safetensors(model, tmp_path / "a.safetensors")
    config, weights = read(tmp_path / "a.safetensors")
    assert config == model.config
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
    images = noise(2, 3, 16, 16)
    assert torch.equal(load(tmp_path / "a.safetensors")(images), model(images))


def test_shared_weights_are_read_under_each_name(tmp_path):
    model = classifier()
    model.network.more = model.network.head
    save_safetensors(model, tmp_path / "a.safetensors")
    assert read(tmp_path / "a.safetensors")[1].keys() == model.state_dict().keys()


def test_the_old_file_stays_if_the_new_one_cannot_be_written(tmp_path, monkeypatch):
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


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    file, model = tmp_path / "a.safetensors", classifier()
    save_safetensors(model, file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"a.safetensors, which is damaged"):
        load(file)
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match="no description"):
        load(file)
    model.network.head.classifier = torch.nn.Linear(6, 5)
    save_safetensors(model, file)
    with pytest.raises(ValueError, match=r"another model: its network.head.classifier.bias is \(5,\), expected \(3,\)"):
        load(file)


def test_without_safetensors_the_extra_is_named(tmp_path, monkeypatch):
    save_safetensors(classifier(), tmp_path / "a.safetensors")
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    for act in (lambda: load(tmp_path / "a.safetensors"), lambda: save_safetensors(classifier(), tmp_path / "b")):
        with pytest.raises(MissingExtraError, match=r"got no safetensors.*: pip install 'set-aggregation\[export\]'"):
            act()
