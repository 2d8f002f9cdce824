"""Any map-style data set of torch, such as those of torchvision, in memory."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from set_aggregation.data.image_files import to_array
from set_aggregation.data.image_set import Size, resize
from set_aggregation.data.in_memory import InMemoryImages
from set_aggregation.data.transforms import imagenet_statistics


class TorchDataset(InMemoryImages):
    """Images of a map-style ``torch.utils.data.Dataset`` of pairs (PIL image or tensor, label), read into memory.

    On the command line: ``--data TorchDataset --data.train torchvision.datasets.SVHN --data.train.root data
    --data.train.download true --data.num_classes 10``; ``--data.test`` likewise, with ``--data.test.split test``.

    Args:
        train: builds the data set, as a class path and its arguments.
        num_classes: number of classes; labels are 0 ... ``num_classes - 1``.
        test: builds the published test set; None holds ``test_size`` images out of the others.
        image_size: height and width to which images of another size are resized (bicubic, antialiased).
        in_channels: 3 for colour, 1 for grey.
        class_names: names of the classes; their numbers by default.
        mean: of each channel, for ``normalize``; ImageNet's by default.
        std: of each channel; ImageNet's by default.
        flip: whether a mirrored image has the same class, for ``augment``.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`; ``split`` follows from ``test``.

    Raises:
        ValueError: an item is no image with a label, or ``test`` and ``test_size`` are both missing.

    Example:
        >>> from torchvision.datasets import FakeData
        >>> data = TorchDataset(lambda: FakeData(60, (3, 8, 8), 2), 2, image_size=(8, 8), val_size=10, test_size=10)
        >>> data.batch_size = 20
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))[0].shape
        torch.Size([20, 3, 8, 8])
    """

    def __init__(
        self,
        train: Callable[[], Dataset],  # type: ignore[type-arg]  # jsonargparse takes no generic class
        num_classes: int,
        test: Callable[[], Dataset] | None = None,  # type: ignore[type-arg]
        image_size: Size = (32, 32),
        in_channels: Literal[1, 3] = 3,
        class_names: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        flip: bool = True,
        test_size: int | None = None,
        **arguments: Any,
    ) -> None:
        self.image_size = (image_size[0], image_size[1])
        split: Literal["official", "paper"] = "paper" if test is None else "official"
        super().__init__(split=split, test_size=test_size, **arguments)
        self._check(bool(test or test_size or self.split_file), "neither test nor test_size", "one of them")
        self.builders = [train] if test is None else [train, test]
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.class_names = tuple(map(str, range(num_classes))) if class_names is None else tuple(class_names)
        self._check(len(self.class_names) == num_classes, f"{len(self.class_names)} class_names", f"{num_classes}")
        usual_mean, usual_std = imagenet_statistics(in_channels)
        self.mean, self.std = tuple(mean or usual_mean), tuple(std or usual_std)
        self.flip = flip

    @property
    def title(self) -> str:
        """The name of the data: that of the data set and the sizes."""
        classes = [each for each in getattr(self.builders[0], "args", ()) if isinstance(each, type)]
        name = classes[0].__name__ if classes else type(self).__name__
        return super().title.replace(type(self).__name__, name)

    def prepare_data(self) -> None:
        """Build the data sets once, which downloads them if they do so."""
        for build in self.builders:
            build()

    def load(self) -> tuple[UInt8[Tensor, "N C H W"], Int[Tensor, "N"], int]:
        """Read all items, the test set last."""
        sets = [build() for build in self.builders]
        items: ConcatDataset[Any] = ConcatDataset(sets)
        images = torch.empty(len(items), self.in_channels, *self.image_size, dtype=torch.uint8)
        labels = torch.empty(len(items), dtype=torch.long)
        for index in range(len(items)):
            images[index], labels[index] = self._convert(items[index], index)
        return images, labels, len(sets[1]) if len(sets) == 2 else 0  # type: ignore[arg-type]

    def _convert(self, item: Any, index: int) -> tuple[UInt8[Tensor, "C H W"], int]:
        image, label = item if isinstance(item, tuple | list) and len(item) == 2 else (None, -1)
        if isinstance(image, Image.Image):
            pixels = torch.from_numpy(np.array(to_array(image, self.in_channels, self.image_size))).permute(2, 0, 1)
        elif isinstance(image, Tensor) and image.ndim == 3 and len(image) == self.in_channels:
            scaled = image * 255 if image.is_floating_point() else image
            pixels = resize(scaled.round().clamp(0, 255).to(torch.uint8)[None], self.image_size)[0]
        else:
            kind = f"a tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            expected = f"a pair of a PIL image or a tensor (C={self.in_channels}, H, W) and a label"
            raise ValueError(f"TorchDataset: got {kind} in item {index}, expected {expected}")
        label = int(label)
        self._check(0 <= label < self.num_classes, f"label {label} in item {index}", f"0 to {self.num_classes - 1}")
        return pixels, label
