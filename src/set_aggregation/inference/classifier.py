"""A trained network, ready for pictures."""

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, ImageOps
from torch import Tensor, nn

from set_aggregation.data.conversion import to_float
from set_aggregation.data.image_files import read_image, shrink, to_array, upright_size
from set_aggregation.inference.hub import HubModel
from set_aggregation.inference.network import build_network, without_training

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

_USAGE = """
from set_aggregation import ImageClassifier

model = ImageClassifier.from_pretrained("REPOSITORY_OR_FOLDER")
logits = model(model.preprocess("picture.png"))
"""
_SIDE = 64  # of an example, where nothing is said of the size of images


class ImageClassifier(nn.Module, HubModel):
    """A network with the conversion of its images and the names of its classes, in evaluation mode.

    :func:`set_aggregation.load` makes one of a run, of a checkpoint or of a ``.safetensors`` file. Built here, its
    weights are random. It is made of plain values, which travel with the weights.

    Where `huggingface_hub <https://huggingface.co/docs/huggingface_hub>`_ is installed, ``save_pretrained``,
    ``from_pretrained`` and ``push_to_hub`` are those of its ``PyTorchModelHubMixin``.

    Args:
        network: the arguments of :class:`~set_aggregation.models.classifier.SetClassifier`, its parts as ``class_path``
            and ``init_args``, as in a configuration. What concerns training only is left out.
        images: what ``ImageDataModule.image_description`` says.
        training: what the run says of data, accuracy and machine, for the card.

    Attributes:
        network: the ``SetClassifier``.
        class_names: names of the classes, in the order of the logits.
        in_channels: 1 for grey, 3 for RGB.
        image_size: height and width that :meth:`preprocess` resizes to; None keeps the proportions, up to
            ``max_side``.
        max_side: see there.
        mean, std: of each channel, if images are normalised, else None.
        config: all three arguments, without what was left out.

    Shape:
        - input: images :math:`(B, C, H, W)`, bytes (0 to 255) or floating-point numbers in [0, 1].
        - output: logits :math:`(B, K)`.

    Raises:
        ValueError: a network that cannot be built here, or images of another kind than it takes.

    Example:
        >>> network = {
        ...     "backbone": {"class_path": "SmallCNN", "init_args": {"in_channels": 1}},
        ...     "aggregator": {"class_path": "SAN", "init_args": {"out_features": 128}},
        ...     "num_classes": 2,
        ... }
        >>> images = {"class_names": ["cat", "dog"], "in_channels": 1, "image_size": [16, 16]}
        >>> model = ImageClassifier(network, images)
        >>> model(model.preprocess(Image.new("RGB", (640, 480)))).shape
        torch.Size([1, 2])
    """

    def __init__(
        self, network: Mapping[str, Any], images: Mapping[str, Any], training: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        kept = without_training(network)
        # As JSON has it, in which it is saved.
        self.config = json.loads(json.dumps({"network": kept, "images": images, "training": training or {}}))
        self.class_names: list[str] = list(images["class_names"])
        self.in_channels: int = images["in_channels"]
        size = images.get("image_size")
        self.image_size: tuple[int, int] | None = size and (size[0], size[1])
        self.max_side: int | None = images.get("max_side")
        self.mean, self.std = images.get("mean"), images.get("std")
        self.network = build_network(kept)
        self.eval()

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """The sizes at which it was tested, as far as the run says so, else that of :meth:`preprocess`."""
        names = self.config["training"].get("metrics", {})
        found = [re.fullmatch(r"test/accuracy/(\d+)x(\d+)", name) for name in names]
        sizes = sorted((int(each[1]), int(each[2])) for each in found if each)
        return sizes or [size for size in (self.image_size,) if size]

    @property
    def example_size(self) -> tuple[int, int]:
        """Height and width of images that it takes."""
        return self.image_size or (self.max_side or _SIDE, self.max_side or _SIDE)

    def preprocess(self, picture: Image.Image | Path | str) -> UInt8[Tensor, "1 C H W"]:
        """Turns a picture into a batch of one image, as ``main.py predict`` does.

        It is turned upright, converted to grey or RGB and resized (bicubic, antialiased).

        Args:
            picture: the picture or its file.
        """
        if isinstance(picture, Image.Image):
            size = self._size(ImageOps.exif_transpose(picture).size[::-1])
            pixels = to_array(picture, self.in_channels, size)
        else:
            file = Path(picture)
            size = self.image_size or self._size(upright_size(file))
            pixels = read_image(file, self.in_channels, size)
        return torch.tensor(pixels).permute(2, 0, 1)[None]

    def forward(self, images: Shaped[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Computes the logits."""
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(
                f"ImageClassifier: got images of shape {tuple(images.shape)}, expected (B, C={self.in_channels}, H, W)"
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(
                f"ImageClassifier: got images of {images.dtype}, expected torch.uint8, or floats in [0, 1]"
            )
        return self.network(to_float(images, self.mean, self.std))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> "ModelCard":
        """The card of what ``save_pretrained`` saves.

        Args:
            *args: not used.
            **kwargs: not used.
        """
        from huggingface_hub import ModelCard

        from set_aggregation.inference.model_card import card
        from set_aggregation.inference.speed import speed_rows

        takes = f"bytes (uint8, 0 to 255), or numbers in [0, 1], of shape (batch, {self.in_channels}, height, width)"
        speed = speed_rows(self, copy.deepcopy(self).cpu(), f"torch {torch.__version__}")
        return ModelCard(card(self, _USAGE, takes, speed))

    def _size(self, own: tuple[int, int]) -> tuple[int, int]:
        if self.image_size is not None:
            return self.image_size
        return own if self.max_side is None else shrink(own, self.max_side)
