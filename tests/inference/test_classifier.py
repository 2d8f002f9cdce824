import importlib
import json
import sys

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from set_aggregation import ImageClassifier, load
from set_aggregation._extras import MissingExtraError
from set_aggregation.data import ImageFolder
from set_aggregation.data.image_files import read_images
from tests.support.small_classifier import classifier, noise, random_image


def test_bytes_and_floats_give_the_same_logits():
    model, images = classifier(in_channels=3), noise(2, 3, 16, 16)
    assert torch.equal(model(images), model(images / 255))


def test_images_are_normalised_before_the_network():
    model = classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    images = noise(2, 3, 16, 16)
    mean, std = torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.25, 2.0]])[..., None, None]
    torch.testing.assert_close(model(images), model.network((images / 255 - mean) / std))


def test_is_in_evaluation_mode_and_computes_on_its_device():
    model = classifier()
    assert not any(module.training for module in model.modules())
    assert model.to("meta")(noise(2, 1, 16, 16).to("meta")).shape == (2, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    torch.manual_seed(0)  # with other weights, logits that cancel may differ by more than the tolerance
    model, images = classifier(mean=[0.5], std=[0.25]), noise(2, 1, 16, 16)
    expected = model(images)
    logits = model.to(dtype)(images)
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (noise(1, 16, 16), r"shape \(1, 16, 16\), expected a tensor of shape \(B, C=1, H, W\)"),
        (noise(2, 3, 16, 16), r"expected a tensor of shape \(B, C=1, H, W\)"),
        (np.zeros((1, 1, 16, 16), np.uint8), r"got images as ndarray, expected a tensor"),
        ([], r"got images as list, expected a tensor"),
        (torch.full((2, 1, 16, 16), torch.nan), r"floats from nan to nan"),
        (noise(2, 1, 16, 16).long(), r"torch.int64, expected torch.uint8"),
        (noise(2, 1, 16, 16).float(), r"floats from 0 to 255, expected \[0, 1\]"),
        (noise(2, 1, 16, 16).float() / 64 - 2, r"floats from -2 to"),
    ],
)
def test_other_images_are_refused(images, words):
    with pytest.raises(ValueError, match=words):
        classifier()(images)


@pytest.mark.parametrize(("in_channels", "name"), [(1, "a.png"), (3, "a.jpg")])
def test_a_file_is_read_as_predict_does(in_channels, name, tmp_path):
    random_image(400, 600).save(tmp_path / name)
    found = classifier(in_channels=in_channels).preprocess(tmp_path / name)
    assert torch.equal(found, read_images([tmp_path / name], in_channels, (16, 16)))
    assert torch.equal(classifier(in_channels=in_channels).preprocess(str(tmp_path / name)), found)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_image_and_array_are_read_as_a_file(mode, tmp_path):
    image, model = random_image(mode=mode), classifier(in_channels=3)
    image.save(tmp_path / "a.png")
    expected = model.preprocess(tmp_path / "a.png")
    assert torch.equal(model.preprocess(image), expected)
    if mode != "P":  # its array holds numbers of colours
        assert torch.equal(model.preprocess(np.asarray(image)), expected)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3)), np.zeros((3, 4, 5), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match=r"got an array of .*, expected .* uint8 of shape \(H, W\)"):
        classifier().preprocess(array)


@pytest.mark.parametrize("images", [[random_image(), random_image()], [], noise(3, 16, 16), b"image"])
def test_anything_but_one_image_is_refused(images):
    with pytest.raises(ValueError, match=rf"got a {type(images).__name__}, expected one image"):
        classifier().preprocess(images)


def test_images_of_any_size_are_shrunk_as_predict_does(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        random_image().save(tmp_path / name / "b.png")
    file = tmp_path / "cat" / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    random_image(200, 300).save(file, exif=exif)
    data = ImageFolder(tmp_path, max_side=64, num_workers=0)
    expected = read_images([file], 3, (64, 43))
    model = classifier(**data.image_description)
    assert torch.equal(model.preprocess(file), expected)
    with Image.open(file) as opened:
        assert model.preprocess(opened).shape == expected.shape
    assert max(expected.shape) <= 64


def test_dark_images_of_sixteen_bits_are_scaled_as_in_training(tmp_path):
    Image.fromarray(np.full((16, 16), 100, np.uint16)).save(tmp_path / "a.png")
    assert (classifier(white=1023).preprocess(tmp_path / "a.png") == round(100 * 255 / 1023)).all()


def test_images_without_a_bound_keep_their_size():
    found = classifier(image_size=None, in_channels=3).preprocess(random_image(40, 60))
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), np.asarray(random_image(40, 60)))


@pytest.fixture(scope="module")
def model():
    built = classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    network = built.config["network"] | {"initialization": "glorot", "image_size": (16, 16)}  # as in a checkpoint
    return ImageClassifier(network, built.config["images"], {"data": "Insects", "seed": 7})


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("read", [ImageClassifier.from_pretrained, load], ids=["from_pretrained", "load"])
def test_hub_round_trip_is_bitwise(model, saved, read):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert json.loads((saved / "config.json").read_text()) == model.config
    found, images = read(saved), noise(2, 3, 16, 16)
    assert found.config == model.config
    assert torch.equal(found(images), model(images))


def test_the_card_is_one_of_the_hub_and_its_lines_run(saved, tmp_path, monkeypatch):
    card = ModelCard.load(saved / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("set-aggregation", "image-classification")
    assert "# SAN on Insects" in card.text
    monkeypatch.chdir(tmp_path)
    random_image().save("image.png")
    lines, names = card.text.split("```python\n")[1].split("```")[0], {}
    exec(lines.replace("REPOSITORY_OR_FOLDER", str(saved)), names)
    assert names["logits"].shape == (1, 3)


def test_push_to_hub_sends_what_is_saved(model, monkeypatch, saved):
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
    assert sent["me/insects"]["config.json"] == (saved / "config.json").read_bytes()


def test_missing_weights_are_an_error(model, tmp_path):
    from safetensors.torch import save_file

    model.save_pretrained(tmp_path)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    weights.pop("network.head.classifier.bias")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"network.head.classifier.bias"):
        ImageClassifier.from_pretrained(tmp_path)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    spec = importlib.util.find_spec("set_aggregation.inference.classifier")
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    with pytest.raises(MissingExtraError, match=r"huggingface_hub.*'set-aggregation\[export\]'"):
        without.ImageClassifier.from_pretrained("me/insects")
