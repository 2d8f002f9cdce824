"""Fashion-MNIST."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision import datasets

from set_aggregation.data.downloads import PublishedImages


class FashionMNIST(PublishedImages):
    """Fashion-MNIST: 70,000 grey images of clothes, 28x28 pixels, in ten classes.

    `Xiao, Rasul and Vollgraf (2017) <https://arxiv.org/abs/1708.07747>`_. The ``"official"`` split has
    55,000 / 5,000 / 10,000 images, the ``"paper"`` split 60,000 / 5,000 / 5,000 out of both published parts.
    The files are read from ``FashionMNIST/raw`` in ``data_dir``.
    """

    num_classes = 10
    class_names = tuple(datasets.FashionMNIST.classes)
    in_channels = 1
    image_size = (28, 28)
    mean = (0.2860,)
    std = (0.3530,)
    flip = True
    test_size = 5000

    folder = "FashionMNIST/raw"
    files: ClassVar[Mapping[str, str]] = {  # in the archives, which torchvision verifies
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }
    archives: ClassVar[Mapping[str, str]] = dict(datasets.FashionMNIST.resources)
    addresses = (
        *datasets.FashionMNIST.mirrors,
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://dataset.bj.bcebos.com/fashion_mnist/",
    )

    def load(self) -> tuple[UInt8[Tensor, "N 1 28 28"], Int[Tensor, "N"], int]:
        """Read the files in the idx format: a header of 16 bytes before images, of 8 before labels."""
        train, train_labels, test, test_labels = (
            np.frombuffer(content, np.uint8, offset=16 if "images" in name else 8)
            for name, content in self.contents().items()
        )
        images = torch.from_numpy(np.concatenate([train, test])).view(-1, 1, 28, 28)
        return images, torch.from_numpy(np.concatenate([train_labels, test_labels])).long(), len(test_labels)
