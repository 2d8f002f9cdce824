import pytest
import torch

from set_aggregation.inference.network import build_network, without_training
from tests.support.small_classifier import OneConvolution, classifier, noise


class Downloaded(OneConvolution):
    """Backbone that takes its weights from elsewhere, unless it is stopped."""

    def __init__(
        self, name: str = "a", in_channels: int = 3, pretrained: bool = False, weights: str | None = None
    ) -> None:
        super().__init__(in_channels)
        self.downloads = pretrained, weights


@pytest.fixture
def arguments():
    return classifier().config["network"]


def test_building_draws_no_random_number(arguments):
    torch.manual_seed(0)
    build_network(arguments)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))


def test_arguments_of_the_training_are_dropped(arguments):
    given = {"optimizer": {"class_path": "no.Such"}, "init_from": "no.ckpt", "loss": None, "_instantiator": "x"}
    assert without_training({**arguments, **given}) == arguments


@pytest.mark.parametrize(("name", "downloads"), [("resnet18", (False, None)), ("googlenet", (True, "DEFAULT"))])
def test_only_weights_that_change_the_network_are_downloaded(name, downloads, arguments):
    init_args = {"name": name, "in_channels": 1, "pretrained": True, "weights": "DEFAULT"}
    network = build_network(arguments | {"backbone": {"class_path": "Downloaded", "init_args": init_args}})
    assert network.backbone.downloads == downloads


def test_implementation_is_chosen_on_this_machine():
    asked = {"class_path": "SAN", "init_args": {"out_features": 6, "implementation": "triton"}}
    assert classifier(asked)(noise(1, 1, 16, 16)).shape == (1, 3)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("backbone", {"class_path": "torch.zeros"}),
        ("aggregator", {"class_path": "torch.zeros"}),
        ("aggregator", {"class_path": "torch.nn.ReLU"}),
        ("aggregator", {"class_path": "NoSuchPool"}),
        (
            "aggregator",
            {"class_path": "SAN", "init_args": {"out_features": 6, "activation": {"class_path": "torch.zeros"}}},
        ),
        ("aggregator", "torch.zeros"),
        ("backbone", {"class_path": "not_installed.Backbone"}),
        ("num_classes", "three"),
        ("colour", "red"),
    ],
)
def test_anything_but_a_network_is_refused_in_one_line(part, value, arguments):
    with pytest.raises(ValueError, match=r"^got a network that cannot be built here: .+$") as raised:
        build_network(arguments | {part: value})
    assert "\n" not in str(raised.value)


def test_parts_of_parts_are_built():
    gelu = {"class_path": "torch.nn.GELU", "init_args": {"approximate": "tanh"}}
    model = classifier({"class_path": "SAN", "init_args": {"out_features": 6, "activation": gelu}})
    assert model.network.aggregator.activation.approximate == "tanh"
