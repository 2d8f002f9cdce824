"""Image files as a data set, and their sizes from the headers."""

import numpy as np
import pytest
import torch
from PIL import Image

from set_aggregation.data import FileSet
from set_aggregation.data.image_files import read_images, sizes_of_files


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).save(path)
    return paths


def test_batches_are_decoded_at_their_size(files):
    images = FileSet(files, np.array([(8, 9), (8, 9), (5, 5), (8, 9)]), 3, torch.arange(4))
    batch, labels = images[[3, 0]]
    assert torch.equal(batch, read_images([files[3], files[0]], 3, (8, 9)))
    assert labels.tolist() == [3, 0]
    assert len(images) == 4


def test_sizes_come_from_the_headers(files):
    content = files[1].read_bytes()
    files[1].write_bytes(content[: len(content) // 2])  # a damaged body
    files[2].write_bytes(b"no image")  # a damaged header
    sizes, unreadable = sizes_of_files(files)
    assert sizes == {files[0]: (20, 30), files[1]: (21, 30), files[3]: (23, 30)}
    assert "cannot identify" in unreadable[files[2]]
    assert "truncated" in sizes_of_files(files, decode=True)[1][files[1]]
