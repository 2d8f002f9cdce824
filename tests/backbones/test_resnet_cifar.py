import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.testing import assert_close

from set_aggregation.aggregators import SAN, GlobalAvgPool
from set_aggregation.backbones import ResNetCIFAR
from set_aggregation.data import Digits
from set_aggregation.models.classifier import SetClassifier


@pytest.mark.parametrize(
    ("depth", "expected", "published"),
    [(20, 269_722, 0.27), (56, 853_018, 0.85)],
)
def test_number_of_parameters_with_the_classifier(depth, expected, published):
    """Table 6 of He et al. (2015), in millions."""
    model = SetClassifier(ResNetCIFAR(depth), GlobalAvgPool, num_classes=10)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == expected
    assert round(count / 1e6, 2) == published


def test_depth_counts_the_layers():
    """Convolutions and classifier; the way around a block is none of them."""
    assert sum(isinstance(module, nn.Conv2d) for module in ResNetCIFAR(20).modules()) + 1 == 20


def test_shortcut_b_is_a_convolution_with_batch_normalisation():
    a, b = (sum(p.numel() for p in ResNetCIFAR(20, shortcut).parameters()) for shortcut in "AB")
    assert b - a == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def test_shortcut_a_takes_every_second_pixel_and_adds_zeros():
    torch.manual_seed(0)
    block = ResNetCIFAR(8).blocks[1]
    nn.init.zeros_(block.residual[-1].weight)  # so that only the shortcut is left
    x = torch.rand(2, 16, 7, 6)
    output = block(x)
    assert torch.equal(output[:, :16], x[:, :, ::2, ::2])
    assert (output[:, 16:] == 0).all()


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("size", [(32, 32), (22, 31), (1, 5)])
def test_size_is_halved_twice_and_rounded_up(shortcut, size):
    h, w = (math.ceil(side / 4) for side in size)
    assert ResNetCIFAR(8, shortcut)(torch.randn(2, 3, *size)).shape == (2, 64, h, w)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_memory_format_is_kept(shortcut):
    torch.manual_seed(0)
    backbone = ResNetCIFAR(8, shortcut).eval()
    images = torch.randn(2, 3, 9, 8)
    expected = backbone(images)
    output = backbone.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert_close(output, expected)


def test_weights_are_drawn_as_he_et_al_do():
    torch.manual_seed(0)
    for module in ResNetCIFAR(20, "B").modules():
        if isinstance(module, nn.Conv2d):
            std = math.sqrt(2 / (module.out_channels * module.kernel_size[0] ** 2))
            assert module.weight.std().item() == pytest.approx(std, rel=0.15)


@pytest.mark.nightly
def test_images_of_all_sizes_share_a_program(unchecked_shapes):
    torch._dynamo.reset()
    counter = CompileCounter()
    backbone = ResNetCIFAR(8).eval()
    compiled = torch.compile(backbone, backend=counter, dynamic=True, fullgraph=True)
    for size in [(16, 18), (15, 18), (9, 8)]:
        images = torch.randn(4, 3, *size)
        assert_close(compiled(images), backbone(images))
    assert counter.frame_count == 1
    torch._dynamo.reset()


def test_five_steps_lower_the_loss():
    aggregator = partial(SAN, out_features=64, reduction="mean")
    torch.manual_seed(0)
    data = Digits(batch_size=32)
    data.setup("fit")
    images, labels = next(iter(data.train_dataloader()))
    images = images.float() / 255
    model = SetClassifier(ResNetCIFAR(20, in_channels=1), aggregator, num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(6):
        losses.append(F.cross_entropy(model(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 18}, r"got depth=18, expected 6n \+ 2"),
        ({"depth": 2}, r"got depth=2, expected 6n \+ 2"),
        ({"shortcut": "C"}, "got shortcut='C', expected 'A' or 'B'"),
        ({"in_channels": 0}, "got in_channels=0, expected at least 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, unchecked_shapes):
    with pytest.raises(ValueError, match=f"ResNetCIFAR: {message}"):
        ResNetCIFAR(**arguments)
