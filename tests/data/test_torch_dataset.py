"""Map-style data sets of torch as data modules."""

import jsonargparse
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision.datasets import FakeData

from set_aggregation.data import ImageDataModule, TorchDataset


def fake(num=30, size=(3, 10, 12)):
    return lambda: FakeData(num, size, 4)


def test_items_become_bytes_at_one_size():
    images, labels, num_test = TorchDataset(fake(), 4, fake(5), image_size=(10, 12)).load()
    assert (images.shape, images.dtype, num_test) == ((35, 3, 10, 12), torch.uint8, 5)
    for index in (0, 29):
        image, label = fake()()[index]
        assert np.array_equal(images[index].permute(1, 2, 0), np.asarray(image))
        assert labels[index] == label
    assert torch.equal(images[30:], images[:5])  # FakeData's images follow their index
    assert TorchDataset(fake(), 4, fake(5), image_size=(8, 8)).load()[0].shape == (35, 3, 8, 8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_tensors(dtype):
    stored = torch.randint(256, (6, 1, 8, 8), dtype=torch.uint8)
    given = stored if dtype == torch.uint8 else stored / 255
    data = TorchDataset(
        lambda: TensorDataset(given, torch.zeros(6).long()), 1, in_channels=1, image_size=(8, 8), test_size=1
    )
    assert torch.equal(data.load()[0], stored)


def test_the_published_test_set_is_the_test_set():
    data = TorchDataset(fake(30), 4, fake(5), image_size=(10, 12), val_size=6, batch_size=8)
    data.setup("fit")
    assert {part: len(images) for part, images in data.parts.items()} == {"train": 24, "val": 6, "test": 5}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((torch.zeros(1, 8, 8), 0), r"tensor of shape \(1, 8, 8\) in item 0"),
        ((np.zeros((8, 8, 3)), 0), "ndarray"),
        (Image.new("RGB", (8, 8)), "NoneType"),
        ((Image.new("RGB", (8, 8)), 4), "label 4 in item 0, expected 0 to 3"),
    ],
)
def test_other_items_are_refused(item, message):
    with pytest.raises(ValueError, match=message):
        TorchDataset(lambda: [item], 4, test_size=1, image_size=(8, 8)).load()


def test_a_test_set_is_needed():
    with pytest.raises(ValueError, match="neither test nor test_size"):
        TorchDataset(fake(), 4)
    with pytest.raises(ValueError, match="3 class_names, expected 4"):
        TorchDataset(fake(), 4, test_size=1, class_names="abc")


def test_from_the_command_line():
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")
    dataset = [
        "--data.train",
        "torchvision.datasets.FakeData",
        "--data.train.size=60",
        "--data.train.image_size=[3,10,12]",
    ]
    sizes = ["--data.test_size=10", "--data.val_size=10", "--data.batch_size=8", "--data.sizes=[8, 12]"]
    data = parser.instantiate(
        parser.parse_args(["--data", "TorchDataset", "--data.num_classes=10", *dataset, *sizes])
    ).data
    data.setup("fit")
    assert data.image_sizes["test"] == [(8, 8), (12, 12)]
    assert data.title == "FakeData at 2 sizes"
