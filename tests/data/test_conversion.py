"""Bytes become the same numbers in training and in use."""

import numpy as np
import pytest
import torch

from set_aggregation.data import Digits, ImageFolder
from set_aggregation.data.conversion import to_float
from tests.support.small_classifier import noise, random_image

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)


def test_bytes_are_divided_by_255_and_numbers_are_not():
    images = noise(2, 3, 4, 5)
    expected = images.numpy().astype(np.float32) / np.float32(255)
    assert np.array_equal(to_float(images).numpy(), expected)
    assert torch.equal(to_float(torch.from_numpy(expected).double()), torch.from_numpy(expected))


def test_each_channel_is_normalised_by_its_own():
    images = noise(2, 3, 4, 5)
    found = to_float(images, MEAN, STD)
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        torch.testing.assert_close(found[:, channel], (images[:, channel] / 255 - mean) / std)


def test_memory_format_is_that_of_the_backbone():
    assert to_float(noise(2, 3, 4, 5)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("normalize", [False, True])
def test_batches_are_converted_as_the_description_says(normalize):
    data = Digits(normalize=normalize)
    said = data.image_description
    images = noise(2, 1, 16, 16)
    (batch,) = data.on_after_batch_transfer([images], 0)
    assert torch.equal(batch, to_float(images, said["mean"], said["std"]))
    assert (said["mean"] is None) is not normalize
    assert said["image_size"] == [16, 16]


def test_description_of_several_sizes_names_that_of_predict():
    assert Digits(sizes=[8, 24]).image_description["image_size"] == [16, 16]


def test_description_of_a_folder_names_its_classes(tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        random_image().save(tmp_path / name / "1.png")
    said = ImageFolder(tmp_path, max_side=48, in_channels=1).image_description
    assert said["class_names"] == ["cat", "dog"]
    assert (said["in_channels"], said["image_size"], said["max_side"]) == (1, None, 48)
    assert said["mean"] == [0.449]
