"""Images of several sizes in one data set."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from set_aggregation.data.image_set import ImageSet

SIZES = [(4, 6), (6, 4), (9, 9)]
COUNTS = [(3, 2, 4), (0, 2, 1), (2, 0, 0), (5,)]


def numbered(counts):
    """A set whose image number i has pixels and a label of i + 1; images and labels apart too."""
    images, labels, first = [], [], 1
    for num, (h, w) in zip(counts, SIZES, strict=False):
        numbers = torch.arange(first, first + num)
        images.append(numbers.to(torch.uint8)[:, None, None, None].repeat(1, 2, h, w))
        labels.append(numbers)
        first += num
    return ImageSet(images, labels)


def members(counts):
    """The numbers of the images of each size."""
    ends = np.cumsum(counts)
    return [list(range(end - num, end)) for num, end in zip(counts, ends, strict=True)]


@pytest.mark.parametrize("counts", COUNTS)
def test_length_is_of_all_sizes(counts):
    assert len(numbered(counts)) == sum(counts)


@pytest.mark.parametrize("counts", COUNTS)
def test_each_image_has_its_number_and_its_size(counts):
    both = numbered(counts)
    for (h, w), numbers in zip(SIZES, members(counts), strict=False):
        for number in numbers:
            images, labels = both[[number]]
            assert torch.equal(images, torch.full((1, 2, h, w), number + 1, dtype=torch.uint8))
            assert labels.tolist() == [number + 1]


@pytest.mark.parametrize("counts", COUNTS)
def test_batches_are_in_the_order_that_is_asked_for(counts):
    both = numbered(counts)
    for numbers in members(counts):
        for asked in (numbers, numbers[::-1], numbers[-1:] * 3):
            if asked:
                images, labels = both[asked]
                assert labels.tolist() == images[:, 0, 0, 0].tolist() == [number + 1 for number in asked]


@pytest.mark.parametrize("counts", COUNTS)
def test_sizes_are_those_of_the_images(counts):
    both = numbered(counts)
    assert both.sizes.shape == (len(both), 2)
    for number, size in enumerate(both.sizes.tolist()):
        assert both[[number]][0].shape[2:] == tuple(size)


@pytest.mark.parametrize("number", [9, 100])
def test_images_that_are_not_there(number):
    with pytest.raises(IndexError):
        numbered((3, 2, 4))[[number]]


def test_a_batch_is_a_copy():
    both = numbered((3, 2, 4))
    images, labels = both[[0, 1]]
    images.zero_()
    labels.zero_()
    assert both[[0, 1]][0].min() == 1
    assert both[[0, 1]][1].tolist() == [1, 2]


def test_a_loader_reads_whole_batches():
    loader = DataLoader(numbered((3, 2, 4)), batch_size=None, sampler=[[3, 4], [2, 0], [8]])
    assert [labels.tolist() for _, labels in loader] == [[4, 5], [3, 1], [9]]


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_channels_of_a_pixel_lie_side_by_side(num_channels):
    images = torch.arange(2 * num_channels * 4 * 6, dtype=torch.uint8).view(2, num_channels, 4, 6)
    both = ImageSet([images], [torch.zeros(2)])
    batch, _ = both[[1, 0]]
    assert torch.equal(batch, images.flip(0))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch.stride()[2:] == (6 * num_channels, num_channels)


def test_moved_images_and_labels_give_batches_where_they_lie():
    both = numbered((3, 2, 4))
    assert both.device == torch.device("cpu")
    num_bytes = both.num_bytes
    assert num_bytes == sum(2 * h * w * n for (h, w), n in zip(SIZES, (3, 2, 4), strict=True)) + 9 * 8
    both.move_to(torch.device("meta"))  # which stands in for an accelerator
    images, labels = both[[4, 3]]
    assert images.device == labels.device == both.device == torch.device("meta")
    assert images.shape == (2, 2, *SIZES[1])
    assert both.num_bytes == num_bytes
