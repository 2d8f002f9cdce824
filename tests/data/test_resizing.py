"""Resizing, against Pillow and against the cubic convolution written out."""

import numpy as np
import pytest
import torch
from PIL import Image

from set_aggregation.data.image_set import resize

# From, to: smaller, larger, one side each, by factors that are whole and that are not.
SIZES = [((32, 32), (16, 16)), ((28, 28), (14, 48)), ((9, 15), (20, 7)), ((1, 1), (3, 4))]


def noise(num, channels, size, seed=0):
    """Images of noise, a quarter of whose pixels are black and a quarter white, so that much overshoots."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-256, 512, (num, channels, *size), generator=generator)
    return values.clamp(0, 255).to(torch.uint8)


def mild(images):
    """The images with so little contrast that nothing overshoots 0 ... 255."""
    return images // 4 + 96


def pillow(images, size):
    """Pillow's result; of floating-point images it is neither rounded nor cut."""
    h, w = size
    resized = [
        np.asarray(Image.fromarray(channel.numpy()).resize((w, h), Image.Resampling.BICUBIC))
        for channel in images.flatten(0, 1)
    ]
    return torch.from_numpy(np.stack(resized)).view(*images.shape[:2], h, w)


def cubic(distance):
    """The kernel of `Keys (1981) <https://doi.org/10.1109/TASSP.1981.1163711>`_ with a = -0.75."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * (x**3 - 5 * x**2 + 8 * x - 4)
    return 0.0


def weights(num_from, num_to):
    """The share of each old pixel of a row in each new one; pixels are areas, so that their centres lie at a half."""
    shares = np.zeros((num_to, num_from))
    for new in range(num_to):
        centre = (new + 0.5) * num_from / num_to - 0.5
        first = int(np.floor(centre)) - 1
        for old in range(first, first + 4):
            shares[new, min(max(old, 0), num_from - 1)] += cubic(centre - old)  # the border is repeated outwards
    return shares


def written_out(images, size):
    rows, columns = (weights(old, new) for old, new in zip(images.shape[2:], size, strict=True))
    smooth = rows @ images.double().numpy() @ columns.T
    return torch.from_numpy(np.clip(np.round(smooth), 0, 255))


def largest_difference(images, expected):
    assert images.shape == expected.shape
    return (images.double() - expected.double()).abs().max().item()


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_agrees_with_pillow(old, new):
    images = mild(noise(5, 3, old))
    assert largest_difference(resize(images, new), pillow(images, new)) <= 1


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_agrees_with_pillow_in_floating_point_where_it_overshoots(old, new):
    """Of uint8 images Pillow rounds and cuts after the rows already, which is up to 30 grey levels of such noise."""
    images = noise(5, 3, old)
    assert largest_difference(resize(images, new), pillow(images.float(), new).clamp(0, 255)) < 0.501


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_without_antialias_it_is_the_cubic_convolution(old, new):
    images = noise(5, 3, old)
    assert largest_difference(resize(images, new, antialias=False), written_out(images, new)) <= 1


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("new", [(20, 20), (48, 48)])
def test_is_rounded_and_not_cut_off(antialias, new):
    """A grey level too much is as likely as one too little."""
    images = mild(noise(20, 3, (32, 32)))
    exact = torch.nn.functional.interpolate(images.double(), new, mode="bicubic", antialias=antialias)
    resized = resize(images, new, antialias)
    assert largest_difference(resized, exact) < 0.501
    assert (resized.double() - exact).mean().abs() < 0.01


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_constant_images_stay_constant(antialias, old, new):
    for value in (0, 128, 255):
        images = torch.full((2, 3, *old), value, dtype=torch.uint8)
        assert torch.equal(resize(images, new, antialias), torch.full((2, 3, *new), value, dtype=torch.uint8))


@pytest.mark.parametrize("antialias", [True, False])
def test_overshoot_is_cut_and_not_wrapped(antialias):
    edge = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    edge[..., 8:] = 255
    smooth = torch.nn.functional.interpolate(edge.float(), (40, 40), mode="bicubic", antialias=antialias)
    assert smooth.min() < -5  # the kernel does overshoot
    assert smooth.max() > 260
    row = resize(edge, (40, 40), antialias)[0, 0, 20].int()
    assert (row.diff() >= 0).all()  # dark to bright, and never back
    assert (row[0], row[-1]) == (0, 255)


@pytest.mark.parametrize("antialias", [True, False])
def test_an_image_at_its_own_size_is_given_back(antialias):
    images = noise(3, 1, (12, 16))
    assert resize(images, (12, 16), antialias) is images


def test_antialias_matters_where_images_become_smaller():
    images = noise(3, 1, (32, 32))
    assert largest_difference(resize(images, (12, 12)), resize(images, (12, 12), antialias=False)) > 20


def test_many_images_are_resized_as_each_alone():
    images = noise(1001, 1, (5, 4))  # more than are resized at once
    alone = torch.cat([resize(image[None], (3, 6)) for image in images])
    assert torch.equal(resize(images, (3, 6)), alone)


@pytest.mark.parametrize("new", [(6, 8), (12, 16)])
def test_input_is_left_as_it_was(new):
    images = noise(3, 3, (12, 16))
    before = images.clone()
    resize(images, new)
    assert torch.equal(images, before)


@pytest.mark.parametrize("num", [0, 1])
def test_number_type_and_shape(num):
    resized = resize(noise(num, 3, (12, 16)), (5, 7))
    assert resized.shape == (num, 3, 5, 7)
    assert resized.dtype == torch.uint8


def test_channels_stay_apart():
    images = torch.stack([torch.full((8, 8), value, dtype=torch.uint8) for value in (10, 200, 70)])[None]
    assert resize(images, (5, 11)).flatten(2).unique(dim=2).flatten().tolist() == [10, 200, 70]


def test_memory_order_of_the_input_does_not_matter():
    """Images of colour are read with the channels last."""
    images = noise(4, 3, (12, 16))
    channels_last = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(resize(channels_last, (7, 20)), resize(images, (7, 20)))
