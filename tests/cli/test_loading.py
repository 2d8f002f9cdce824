"""Models loaded from a real run."""

import re
import shutil

import pytest
import torch

from set_aggregation import load, save_safetensors
from tests.support.cli_runner import DIGITS, REHEARSAL, ROOT, files_in, run_cli
from tests.support.small_classifier import random_image

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, size in enumerate([(40, 60), (16, 16), (9, 5)]):
        random_image(*size).save(folder / f"{number}.png")
    return folder


def test_gives_what_predict_prints(run_folder, images, here):
    checkpoint = run_folder / "checkpoints" / "best.ckpt"
    printed = run_cli(here, "predict", "--ckpt_path", checkpoint, "--images", images).out
    model, lines = load(run_folder), []
    for file in sorted(images.iterdir()):
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


def test_last_is_taken_without_best_and_has_no_accuracy(run_folder, tmp_path):
    copy = shutil.copytree(run_folder, tmp_path / "run")
    (copy / "checkpoints" / "best.ckpt").unlink()
    model = load(copy)
    last = torch.load(copy / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(weight, last[name]) for name, weight in model.network.state_dict().items())
    assert "metrics" not in model.config["training"]


def test_a_checkpoint_moved_alone_loses_nothing(run_folder, tmp_path):
    file = shutil.copy(run_folder / "checkpoints" / "best.ckpt", tmp_path / "moved.ckpt")
    alone, model = load(file), load(run_folder)
    images = alone.preprocess(random_image())
    assert torch.equal(alone(images), model(images))
    assert alone.config == model.config


def test_goes_through_safetensors_and_the_hub(run_folder, tmp_path):
    model = load(run_folder)
    images = model.preprocess(random_image())
    save_safetensors(model, tmp_path / "a.safetensors")
    model.save_pretrained(tmp_path / "saved")
    for source in (tmp_path / "a.safetensors", tmp_path / "saved"):
        again = load(source)
        assert again.config == model.config
        assert torch.equal(again(images), model(images))


def test_is_on_the_given_device(run_folder):
    assert {weight.device.type for weight in load(run_folder, device="meta").parameters()} == {"meta"}


def flip_a_bit(checkpoint):
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)


def test_a_damaged_checkpoint_is_refused(run_folder, tmp_path):
    file = shutil.copy(run_folder / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt")
    flip_a_bit(tmp_path / "best.ckpt")
    for source in (file, run_folder / "config.yaml"):
        with pytest.raises(ValueError, match=r"damaged or no checkpoint"):
            load(source)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.S))
def test_the_lines_of_the_page_run(block, run_folder, here, monkeypatch):
    monkeypatch.chdir(here)
    random_image().save("image.png")
    names = {}
    exec(block.replace("RUN", str(run_folder)), names)
    model, again = names["model"], names.get("again", names["model"])
    assert torch.equal(model(model.preprocess("image.png")), again(again.preprocess("image.png")))


def test_callbacks_that_save_are_left_out_where_nothing_is_saved(run_folder, here):
    options = ("--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.monitor", "val/loss")
    checkpoint = run_folder / "checkpoints" / "best.ckpt"
    tested = run_cli(here, "test", "--config", run_folder / "config.yaml", *options, "--ckpt_path", checkpoint)
    assert (tested.code, tested.err) == (0, "")
    rehearsed = run_cli(here, "fit", *DIGITS, *REHEARSAL, *options)
    assert rehearsed.code == 0, rehearsed.err
    assert not files_in(here)
