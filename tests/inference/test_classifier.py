"""A trained network takes pictures as they are."""

import numpy as np
import pytest
import torch
from PIL import Image

from set_aggregation import ImageClassifier
from set_aggregation.data import ImageFolder
from set_aggregation.data.image_files import read_images
from tests.support.small_classifier import OneConvolution, classifier, noise, picture


class Downloaded(OneConvolution):
    """Takes its weights from elsewhere, if it is not stopped."""

    def __init__(
        self, name: str = "a", in_channels: int = 3, pretrained: bool = False, weights: str | None = None
    ) -> None:
        super().__init__(in_channels)
        self.downloads = pretrained, weights


def test_bytes_and_numbers_give_the_same_logits():
    model, images = classifier(in_channels=3), noise(2, 3, 16, 16)
    assert torch.equal(model(images), model(images / 255))


def test_images_are_normalised_before_the_network():
    model = classifier(in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    images = noise(2, 3, 16, 16)
    mean, std = torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.25, 2.0]])[..., None, None]
    torch.testing.assert_close(model(images), model.network((images / 255 - mean) / std))


def test_is_in_evaluation_mode_and_computes_where_it_is():
    model = classifier()
    assert not any(module.training for module in model.modules())
    assert model.to("meta")(noise(2, 1, 16, 16).to("meta")).shape == (2, 3)


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 3, 16, 16)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"got images of shape .*, expected \(B, C=1, H, W\)"):
        classifier()(noise(*shape))


def test_other_integers_are_refused():
    with pytest.raises(ValueError, match=r"got images of torch.int64, expected torch.uint8, or floats in \[0, 1\]"):
        classifier()(noise(2, 1, 16, 16).long())


@pytest.mark.parametrize(("in_channels", "name"), [(1, "a.png"), (3, "a.png"), (3, "a.jpg")])
def test_a_file_is_read_as_predict_does(in_channels, name, tmp_path):
    picture(400, 600).save(tmp_path / name)
    found = classifier(in_channels=in_channels).preprocess(tmp_path / name)
    assert torch.equal(found, read_images([tmp_path / name], in_channels, (16, 16)))
    assert torch.equal(classifier(in_channels=in_channels).preprocess(str(tmp_path / name)), found)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
def test_a_picture_is_read_as_its_file(mode, tmp_path):
    suffix = "tif" if mode == "CMYK" else "png"
    drawn = picture(mode=mode)
    drawn.save(tmp_path / f"a.{suffix}")
    model = classifier(in_channels=3)
    assert torch.equal(model.preprocess(drawn), model.preprocess(tmp_path / f"a.{suffix}"))


def test_a_picture_stays_as_it_is(tmp_path):
    picture(400, 600).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as opened:
        classifier().preprocess(opened)
        assert opened.size == (600, 400)


@pytest.mark.parametrize("upright", [(40, 60), (300, 200), (20, 500)])
def test_pictures_of_any_size_are_shrunk_as_predict_does(upright, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    file = tmp_path / "cat" / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    picture(*upright[::-1]).save(file, exif=exif)
    data = ImageFolder(tmp_path, max_side=64, num_workers=0)
    data.predict_files = [file]
    ((expected,),) = data.predict_dataloader()
    model = classifier(**data.image_description)
    assert torch.equal(model.preprocess(file), expected)
    with Image.open(file) as opened:
        assert model.preprocess(opened).shape == expected.shape
    assert max(expected.shape) <= 64


def test_pictures_without_any_bound_keep_their_size():
    found = classifier(image_size=None, in_channels=3).preprocess(picture(40, 60))
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), np.asarray(picture(40, 60)))


def test_sizes_are_those_of_the_test():
    metrics = {"test/accuracy": 0.5, "test/accuracy/16x16": 0.4, "test/accuracy/8x24": 0.6, "test/loss": 1.0}
    assert classifier(training={"metrics": metrics}).image_sizes == [(8, 24), (16, 16)]
    assert classifier().image_sizes == [(16, 16)]
    assert classifier(image_size=None).image_sizes == []


def test_building_draws_no_random_number():
    torch.manual_seed(0)
    classifier()
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))


def test_what_concerns_training_is_left_out():
    network = classifier().config["network"]
    given = {"optimizer": {"class_path": "no.Such"}, "compile": True, "initialization": "glorot", "_instantiator": "x"}
    model = ImageClassifier({**network, **given}, classifier().config["images"])
    assert model.config["network"] == network


@pytest.mark.parametrize(
    ("name", "downloads"),
    [("resnet18", (False, None)), ("googlenet", (True, "DEFAULT")), ("inception_v3", (True, "DEFAULT"))],
)
def test_nothing_is_downloaded_but_what_scales_images_otherwise(name, downloads):
    arguments = {"name": name, "in_channels": 1, "pretrained": True, "weights": "DEFAULT"}
    assert (
        classifier(backbone={"class_path": "Downloaded", "init_args": arguments}).network.backbone.downloads
        == downloads
    )


def test_implementation_is_that_of_the_machine():
    asked = {"class_path": "SAN", "init_args": {"out_features": 6, "implementation": "triton"}}
    assert classifier(asked)(noise(1, 1, 16, 16)).shape == (1, 3)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("backbone", {"class_path": "torch.zeros"}),
        ("backbone", {"class_path": "torch.nn.ReLU"}),
        ("aggregator", {"class_path": "torch.zeros"}),
        ("aggregator", {"class_path": "torch.nn.ReLU"}),
        ("aggregator", {"class_path": "NoSuchPool"}),
        (
            "aggregator",
            {"class_path": "SAN", "init_args": {"out_features": 6, "activation": {"class_path": "torch.zeros"}}},
        ),
        ("aggregator", {}),
        ("aggregator", "torch.zeros"),
        ("backbone", {"class_path": "not_installed.Backbone"}),
        ("num_classes", "three"),
        ("colour", "red"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(part, value):
    config = classifier().config
    with pytest.raises(ValueError, match=r"^got a network that cannot be built here: ") as raised:
        ImageClassifier(config["network"] | {part: value}, config["images"])
    assert "\n" not in str(raised.value)


def test_parts_of_parts_are_built():
    gelu = {"class_path": "torch.nn.GELU", "init_args": {"approximate": "tanh"}}
    model = classifier({"class_path": "SAN", "init_args": {"out_features": 6, "activation": gelu}})
    assert model.network.aggregator.activation.approximate == "tanh"
