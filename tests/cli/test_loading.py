"""From a run to a module that can be used."""

import re
import shutil

import pytest
import torch

from set_aggregation import load, save_safetensors
from tests.support.cli_runner import ROOT, run_cli
from tests.support.small_classifier import random_image


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate([(40, 60), (16, 16), (9, 5)]):
        random_image(*size).save(folder / f"{number}.png")
    return folder


def test_gives_what_predict_prints(run_folder, pictures, here):
    checkpoint = run_folder / "checkpoints" / "best.ckpt"
    arguments = ("--config", run_folder / "config.yaml", "--ckpt_path", checkpoint, "--images", pictures)
    printed = run_cli(here, "predict", *arguments).out
    model, lines = load(run_folder), []
    for file in sorted(pictures.iterdir()):
        with torch.no_grad():
            probability, best = model(model.preprocess(file)).softmax(1)[0].max(0)
        lines.append(f"{file}\t{model.class_names[best]}\t{probability:.4f}\n")
    assert printed == "".join(lines)


def test_knows_what_the_run_knows(run_folder):
    model = load(run_folder / "checkpoints" / "best.ckpt")
    assert model.class_names == [str(number) for number in range(10)]
    assert (model.image_size, model.in_channels, model.mean) == ((16, 16), 1, None)
    assert not any(module.training for module in model.modules())
    assert model.config["network"]["aggregator"]["init_args"]["out_features"] == 8
    assert "optimizer" not in model.config["network"]
    training = model.config["training"]
    assert training["data"] == "Digits"
    assert training["data_settings"]["batch_size"] == 32
    assert (training["seed"], training["epochs"]) == (0, 2)
    assert set(training["metrics"]) == {"test/accuracy", "test/loss"}


def test_last_is_taken_without_best_and_claims_no_accuracy(run_folder, tmp_path):
    copy = shutil.copytree(run_folder, tmp_path / "run")
    (copy / "checkpoints" / "best.ckpt").unlink()
    model = load(copy)
    last = torch.load(copy / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(weight, last[name]) for name, weight in model.network.state_dict().items())
    assert "metrics" not in model.config["training"]


def test_a_checkpoint_is_enough(run_folder, tmp_path):
    file = shutil.copy(run_folder / "checkpoints" / "best.ckpt", tmp_path / "moved.ckpt")
    alone, model = load(file), load(run_folder)
    images = alone.preprocess(random_image())
    assert torch.equal(alone(images), model(images))
    assert alone.config == model.config | {"training": {}}


def test_goes_through_safetensors_and_the_hub(run_folder, tmp_path):
    model = load(run_folder)
    images = model.preprocess(random_image())
    save_safetensors(model, tmp_path / "a.safetensors")
    model.save_pretrained(tmp_path / "saved")
    for source in (tmp_path / "a.safetensors", tmp_path / "saved"):
        again = load(source)
        assert again.config == model.config
        assert torch.equal(again(images), model(images))


def test_lies_where_it_was_asked_for(run_folder):
    assert {weight.device.type for weight in load(run_folder, device="meta").parameters()} == {"meta"}


def without(checkpoint, *names):
    saved = torch.load(checkpoint, weights_only=True)
    torch.save({name: value for name, value in saved.items() if name not in names}, checkpoint)


def of_another_model(checkpoint):
    saved = torch.load(checkpoint, weights_only=True)
    saved["hyper_parameters"]["hidden_features"] = 5
    torch.save(saved, checkpoint)


def flip_a_bit(checkpoint):
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)


MISTAKES = {
    "not there": (lambda run: run / "no", r"got \S+no, which is not there; expected the folder of a run"),
    "no run": (
        lambda run: (run / "empty").mkdir() or run / "empty",
        r"got the folder \S+empty, which has neither checkpoints/best.ckpt nor checkpoints/last.ckpt nor model.safe",
    ),
    "no checkpoint": (lambda run: run / "config.yaml", r"got the checkpoint \S+, which is damaged or no checkpoint"),
    "a flipped bit": (lambda run: flip_a_bit(run / "checkpoints/best.ckpt") or run, r"which is damaged or no check"),
    "of another program": (
        lambda run: without(run / "checkpoints/best.ckpt", "hyper_parameters", "images") or run,
        r"does not say its hyper_parameters and images; expected one that main.py fit of this version wrote",
    ),
    "of an earlier version": (
        lambda run: without(run / "checkpoints/best.ckpt", "images") or run,
        r"does not say its images; expected",
    ),
    "of another model": (
        lambda run: of_another_model(run / "checkpoints/best.ckpt") or run,
        r"best.ckpt of another model: its head.classifier.weight is \(10, 8\), expected \(10, 5\)",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_in_one_line(spoil, words, run_folder, tmp_path):
    source = spoil(shutil.copytree(run_folder, tmp_path / "run"))
    with pytest.raises(ValueError, match=words) as raised:
        load(source)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.S))
def test_the_lines_of_the_page_run(block, run_folder, here, monkeypatch):
    monkeypatch.chdir(here)
    random_image().save("image.png")
    names = {}
    exec(block.replace("RUN", str(run_folder)), names)
    model, again = names["model"], names.get("again", names["model"])
    assert torch.equal(model(model.preprocess("image.png")), again(again.preprocess("picture.png")))
