"""Random crop and flip against one image at a time in plain Python, and conversion to floats."""

import numpy as np
import pytest
import torch

from set_aggregation.data import Digits
from set_aggregation.data.transforms import random_crop_and_flip, to_float

SIZES = [(16, 24), (9, 15)]
TINY = [(1, 1), (1, 7), (7, 1), (1, 16), (16, 1)]


def distinct(channels, h, w, dtype=torch.int64):
    """An image in which no two pixels are equal and none is zero."""
    return torch.arange(1, channels * h * w + 1).view(channels, h, w).to(dtype)


def window(image, down, right, mirrored):
    """The image moved so that its padded version is read from row `down`, column `right`; a pixel at a time."""
    _, h, w = image.shape
    pad_h, pad_w = h // 8, w // 8
    moved = torch.zeros_like(image)
    for row in range(h):
        for column in range(w):
            source_row, source_column = row + down - pad_h, column + right - pad_w
            if 0 <= source_row < h and 0 <= source_column < w:
                moved[:, row, w - 1 - column if mirrored else column] = image[:, source_row, source_column]
    return moved


def windows(image):
    """Every result that is allowed: its bytes, and (down, right, mirrored)."""
    _, h, w = image.shape
    allowed = {}
    for down in range(2 * (h // 8) + 1):
        for right in range(2 * (w // 8) + 1):
            for mirrored in (True, False):  # unmirrored wins where both are the same picture
                allowed[window(image, down, right, mirrored).numpy().tobytes()] = (down, right, mirrored)
    return allowed


def results(image, flip, num=2000):
    """What came out for `num` copies of one image; KeyError if it is no window."""
    torch.manual_seed(0)
    allowed = windows(image)
    out = random_crop_and_flip(image.expand(num, *image.shape), flip)
    return [allowed[crop.contiguous().numpy().tobytes()] for crop in out]


@pytest.mark.parametrize(("size", "flip"), [*((size, True) for size in SIZES + TINY), (SIZES[1], False)])
def test_each_image_is_a_window_of_the_padded_image(size, flip):
    assert len(results(distinct(2, *size), flip, num=200)) == 200


def test_offsets_cover_the_whole_range():
    h, w = 9, 24
    found = results(distinct(1, h, w), flip=False)
    assert {down for down, _, _ in found} == set(range(2 * (h // 8) + 1))
    assert {right for _, right, _ in found} == set(range(2 * (w // 8) + 1))


def test_offsets_are_equally_likely_and_independent():
    found = results(distinct(1, 16, 16), flip=False, num=5000)
    counts = [found.count((down, right, False)) for down in range(5) for right in range(5)]
    assert min(counts) > 130  # 200 expected, standard deviation 14
    assert max(counts) < 270


def test_never_mirrors_without_flip():
    assert not any(mirrored for _, _, mirrored in results(distinct(1, 9, 15), flip=False))


def test_mirrors_half_with_flip():
    mirrored = sum(mirrored for _, _, mirrored in results(distinct(1, 9, 15), flip=True))
    assert 850 < mirrored < 1150  # 1000 expected, standard deviation 22


@pytest.mark.parametrize("size", TINY)
def test_small_images_stay_where_there_is_no_eighth(size):
    image = distinct(1, *size)
    _, h, w = image.shape
    assert {down for down, _, _ in results(image, flip=False)} == set(range(2 * (h // 8) + 1))
    assert {right for _, right, _ in results(image, flip=False)} == set(range(2 * (w // 8) + 1))


def test_images_of_a_batch_stay_apart():
    images = torch.arange(1, 7, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 16, 16)
    for value, crop in enumerate(random_crop_and_flip(images, flip=True), start=1):
        assert set(crop.unique().tolist()) <= {0, value}


def test_images_of_a_batch_move_differently():
    out = random_crop_and_flip(distinct(1, 16, 16).expand(50, 1, 16, 16), flip=False)
    assert len({crop.contiguous().numpy().tobytes() for crop in out}) > 10


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_number_type_is_kept(dtype):
    assert random_crop_and_flip(distinct(3, 9, 9, dtype)[None], flip=True).dtype == dtype


@pytest.mark.parametrize("size", SIZES)
def test_shape_is_kept(size):
    assert random_crop_and_flip(torch.zeros(4, 3, *size), flip=True).shape == (4, 3, *size)


def test_input_is_left_as_it_was():
    images = distinct(1, 16, 16).repeat(8, 1, 1, 1)
    before = images.clone()
    random_crop_and_flip(images, flip=True)
    assert torch.equal(images, before)


def test_follows_the_global_seed():
    images = torch.rand(16, 3, 16, 16)
    torch.manual_seed(3)
    first = random_crop_and_flip(images, flip=True)
    torch.manual_seed(3)
    assert torch.equal(random_crop_and_flip(images, flip=True), first)


def test_empty_batch():
    assert random_crop_and_flip(torch.zeros(0, 3, 16, 16), flip=True).shape == (0, 3, 16, 16)


# Conversion

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)


def random_bytes(*shape):
    return torch.randint(256, shape, dtype=torch.uint8)


def test_bytes_are_divided_by_255_and_numbers_are_not():
    images = random_bytes(2, 3, 4, 5)
    expected = images.numpy().astype(np.float32) / np.float32(255)
    assert np.array_equal(to_float(images).numpy(), expected)
    assert torch.equal(to_float(torch.from_numpy(expected).double()), torch.from_numpy(expected))


def test_each_channel_is_normalised_by_its_own():
    images = random_bytes(2, 3, 4, 5)
    found = to_float(images, MEAN, STD)
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        torch.testing.assert_close(found[:, channel], (images[:, channel] / 255 - mean) / std)


def test_memory_format_is_that_of_the_backbone():
    assert to_float(random_bytes(2, 3, 4, 5)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("normalize", [False, True])
def test_batches_are_converted_as_the_description_says(normalize):
    data = Digits(normalize=normalize)
    said = data.image_description
    images = random_bytes(2, 1, 16, 16)
    (batch,) = data.on_after_batch_transfer([images], 0)
    assert torch.equal(batch, to_float(images, said["mean"], said["std"]))
    assert (said["mean"] is None) is not normalize
    assert said["image_size"] == [16, 16]


def test_images_in_floats_are_left_as_they_were():
    images = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    to_float(images, MEAN, STD)
    assert torch.equal(images, before)
