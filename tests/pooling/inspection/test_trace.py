import pytest
import torch
import torch.nn.functional as F
from torch import nn

from set_aggregation.pooling.inspection import Trace, example_images, light_copy, num_prefix_tokens


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(F.relu_(self.features(x)).mean((2, 3)))


def test_calls_come_in_the_order_in_which_they_are_done():
    trace = Trace(Model(), torch.randn(1, 3, 8, 8))
    assert [call.name for call in trace.calls] == ["features.0", "features.1", "features", "relu", "mean", "fc"]
    assert [call.is_leaf for call in trace.calls] == [True, True, False, False, False, True]
    assert [call.in_place for call in trace.calls] == [False, False, False, True, False, False]
    features = trace.calls[2]
    assert (features.input_shape, features.output_shape) == ((1, 3, 8, 8), (1, 4, 6, 6))
    assert features.start < trace.calls[0].start
    assert trace.output.shape == (1, 2)


def test_no_hook_stays():
    model = Model()
    Trace(model, torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match="got a Model that cannot be run on images of 8x8"):
        Trace(model, torch.randn(1, 4, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_light_copy_shares_weights_and_nothing_else():
    model = Model().train()
    twin = light_copy(model)
    assert twin.fc.weight is model.fc.weight
    assert not twin.training
    assert model.training
    twin.fc = nn.Identity()
    assert isinstance(model.fc, nn.Linear)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, (2, 3, 224, 224)),
        ({"image_size": 32}, (2, 3, 32, 32)),
        ({"patch_embed": type("", (), {"img_size": (16, 24)})}, (2, 3, 16, 24)),
        ({"pretrained_cfg": {"input_size": (3, 96, 96)}}, (2, 3, 96, 96)),
    ],
)
def test_images_are_of_the_size_that_a_model_says(said, expected):
    model = Model()
    for name, value in said.items():
        setattr(model, name, value)
    assert example_images(model).shape == expected
    assert example_images(model, (8, 8), 5).shape == (2, 5, 8, 8)


def test_images_do_not_draw_from_the_random_numbers_of_a_run():
    model, before = Model(), torch.get_rng_state()
    example_images(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_class_tokens_are_counted():
    model = Model()
    assert num_prefix_tokens(model) == 0
    model.class_token = nn.Parameter(torch.zeros(1, 1, 4))
    assert num_prefix_tokens(model) == 1
    model.num_prefix_tokens = 5
    assert num_prefix_tokens(model) == 5
