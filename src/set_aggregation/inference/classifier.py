"""A trained network with the conversion of its images and the names of its classes, and the files it is saved in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from set_aggregation._extras import needs
from set_aggregation.data.image_files import read_image, shrink, to_array, upright_size
from set_aggregation.data.transforms import to_float
from set_aggregation.inference.network import build_network, without_training
from set_aggregation.models.description import num_parameters
from set_aggregation.reports.summary import accuracy_by_size
from set_aggregation.runs.files import atomic_write

try:
    from huggingface_hub import PyTorchModelHubMixin
except ModuleNotFoundError:

    class PyTorchModelHubMixin:  # type: ignore[no-redef]
        """Stand-in for the mixin of huggingface_hub that names the missing package."""

        def _missing(self, *_: Any, **__: Any) -> None:
            with needs("export", "for files of the Hugging Face Hub"):
                import huggingface_hub  # noqa: F401

        save_pretrained = push_to_hub = _missing
        from_pretrained: Any = classmethod(_missing)  # type: ignore[arg-type]


_USAGE = """
from set_aggregation import ImageClassifier

model = ImageClassifier.from_pretrained("REPOSITORY_OR_FOLDER")
logits = model(model.preprocess("image.png"))
"""
_KEY = "set_aggregation"  # of the arguments in the metadata of a .safetensors file
_FLOATS = (-0.5, 1.5)  # bicubic resizing may leave [0, 1] a little


class ImageClassifier(nn.Module, PyTorchModelHubMixin):
    """Image classifier in evaluation mode that takes images as they are stored.

    :func:`set_aggregation.load` builds one from a run, a checkpoint or a ``.safetensors`` file. Built directly, it has
    random weights. ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` are those of `huggingface_hub
    <https://huggingface.co/docs/huggingface_hub>`_, with ``config.json``, ``model.safetensors`` and a model card.

    Args:
        network: arguments of :class:`~set_aggregation.models.SetClassifier`, its parts as ``class_path`` and
            ``init_args`` as in a configuration. Arguments of the training are dropped.
        images: an ``ImageDataModule.image_description``.
        training: data, accuracy and environment of the training, for the model card.

    Shape:
        - input: images :math:`(B, C, H, W)`, bytes (0 to 255) or floats in [0, 1]; others raise a ValueError.
        - output: logits :math:`(B, K)`.

    Example:
        >>> network = {
        ...     "backbone": {"class_path": "SmallCNN", "init_args": {"in_channels": 1}},
        ...     "aggregator": {"class_path": "SAN", "init_args": {"out_features": 128}},
        ...     "num_classes": 2,
        ... }
        >>> images = {"class_names": ["cat", "dog"], "in_channels": 1, "image_size": [16, 16]}
        >>> model = ImageClassifier(network, images)
        >>> model(model.preprocess(np.zeros((480, 640, 3), dtype=np.uint8))).shape
        torch.Size([1, 2])
    """

    def __init__(
        self, network: Mapping[str, Any], images: Mapping[str, Any], training: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        kept = without_training(network)
        # The arguments, without what was dropped, through JSON, the format they are saved in.
        self.config = json.loads(json.dumps({"network": kept, "images": images, "training": training or {}}))
        self.class_names: list[str] = list(images["class_names"])  # in the order of the logits
        self.in_channels: int = images["in_channels"]  # 1 for grey, 3 for RGB
        size = images.get("image_size")
        # Height and width that preprocess resizes to; None keeps the size, up to max_side.
        self.image_size: tuple[int, int] | None = size and (size[0], size[1])
        self.max_side: int | None = images.get("max_side")
        self.white: float | None = images.get("white")  # in files of more than 8 bits that do not state it
        self.mean, self.std = images.get("mean"), images.get("std")  # of each channel; None without normalisation
        self.network = build_network(kept)
        self.eval()

    def preprocess(self, image: Image.Image | Shaped[NDArray[Any], "..."] | Path | str) -> UInt8[Tensor, "1 C H W"]:
        """Turn an image upright, convert it to grey or RGB and resize it (bicubic, antialiased), as a batch of one.

        The image is a file, an image of Pillow, or an array of bytes (H, W), (H, W, 3) or (H, W, 4).
        """
        got = f"a {type(image).__name__}"
        if isinstance(image, np.ndarray):
            got = f"an array of {image.dtype} of shape {image.shape}"
            if image.dtype == np.uint8 and image.size and (image.ndim == 2 or image.shape[2:] in ((3,), (4,))):
                image = Image.fromarray(image)
        if isinstance(image, Image.Image):
            size = self._size(ImageOps.exif_transpose(image).size[::-1])
            pixels = to_array(image, self.in_channels, size, self.white)
        elif isinstance(image, str | Path):
            pixels = read_image(Path(image), self.in_channels, self._size(upright_size(Path(image))), self.white)
        else:
            raise ValueError(
                f"ImageClassifier.preprocess: got {got}, expected one image: a file, an image of Pillow, or uint8 of "
                "shape (H, W), (H, W, 3) or (H, W, 4)"
            )
        return torch.tensor(pixels).permute(2, 0, 1)[None]

    def forward(self, images: Shaped[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Return the logits, in the precision of the weights."""
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != self.in_channels:
            got = f"of shape {tuple(images.shape)}" if isinstance(images, Tensor) else f"as {type(images).__name__}"
            expected = f"a tensor of shape (B, C={self.in_channels}, H, W), such as preprocess returns"
            raise ValueError(f"ImageClassifier: got images {got}, expected {expected}")
        if images.dtype != torch.uint8:
            _check_floats(images)
        return self.network(to_float(images, self.mean, self.std))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> Any:
        """Return the card that ``save_pretrained`` saves."""
        from huggingface_hub import ModelCard

        takes = f"bytes (uint8, 0 to 255), or floats in [0, 1], of shape (batch, {self.in_channels}, height, width)"
        return ModelCard(model_card(self, _USAGE, takes))

    def _save_pretrained(self, save_directory: Path) -> None:
        # huggingface_hub keeps a config.json that exists; its own would hold all arguments of the constructor.
        (save_directory / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        save_safetensors(self, save_directory / "model.safetensors")

    @classmethod
    def _from_pretrained(cls, *, strict: bool = True, **kwargs: Any) -> Any:
        return super()._from_pretrained(strict=strict, **kwargs)  # missing weights are an error

    def _size(self, own: tuple[int, int]) -> tuple[int, int]:
        """Return the size that an image is resized to."""
        return self.image_size or (own if self.max_side is None else shrink(own, self.max_side))


def model_card(model: ImageClassifier, usage: str, takes: str, more: Mapping[str, str] | None = None) -> str:
    """Return a page with the Hugging Face Hub's metadata; ``takes`` describes the input."""
    from set_aggregation.reports.rendering import render  # matplotlib takes a second

    return render(
        "set_aggregation.inference",
        "model_card.md.jinja",
        **model.config,
        backbone=type(model.network.backbone).__name__,
        aggregator=type(model.network.aggregator).__name__,
        arguments=model.network.aggregator.extra_repr(),
        parameters=num_parameters(model.network),
        sizes=accuracy_by_size(model.config["training"].get("metrics", {})),
        usage=usage.strip(),
        takes=takes,
        more=more or {},
    )


def save_safetensors(model: ImageClassifier, file: Path | str) -> None:
    """Write an ``ImageClassifier``, weights and arguments, atomically into one file for :func:`set_aggregation.load`.

    The format is `safetensors <https://huggingface.co/docs/safetensors>`_, with the arguments in the metadata.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from set_aggregation import ImageClassifier, load
        >>> network = {"backbone": {"class_path": "SmallCNN"}, "aggregator": {"class_path": "GlobalAvgPool"}}
        >>> images = {"class_names": ["cat", "dog"], "in_channels": 3, "image_size": [32, 32]}
        >>> model = ImageClassifier(network | {"num_classes": 2}, images)
        >>> with TemporaryDirectory() as folder:
        ...     save_safetensors(model, f"{folder}/model.safetensors")
        ...     load(f"{folder}/model.safetensors").class_names
        ['cat', 'dog']
    """
    with needs("export", "for safetensors files"):
        from safetensors.torch import save_model

    with atomic_write(Path(file)) as temporary:
        save_model(model, str(temporary), metadata={"format": "pt", _KEY: json.dumps(model.config)})


def read_safetensors(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments and the weights of a model that :func:`save_safetensors` wrote."""
    with needs("export", "for safetensors files"):
        from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
            weights = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"got {file}, which is damaged or no safetensors file") from error
    if _KEY not in metadata:
        raise ValueError(f"got {file}, which has no description of its model; expected a file of save_safetensors")
    # The metadata map further names of a shared weight to its name in the file.
    return json.loads(metadata[_KEY]), weights | {
        name: weights[other] for name, other in metadata.items() if other in weights
    }


def _check_floats(images: Tensor) -> None:
    """Refuse what is no float in [0, 1], above all floats from 0 to 255 and images normalised before."""
    if not images.is_floating_point():
        raise ValueError(f"ImageClassifier: got images of {images.dtype}, expected torch.uint8, or floats in [0, 1]")
    if images.numel() == 0 or images.is_meta or torch.compiler.is_compiling():
        return
    low, high = (float(bound) for bound in images.detach().aminmax())
    if not (low >= _FLOATS[0] and high <= _FLOATS[1]):  # nor NaN
        raise ValueError(
            f"ImageClassifier: got floats from {low:.3g} to {high:.3g}, expected [0, 1], or bytes as torch.uint8; the "
            "model normalises them itself"
        )
