"""Models as ``.safetensors`` files that contain their description."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from set_aggregation._extras import needs
from set_aggregation.runs.files import atomic_write

_KEY = "set_aggregation"


def save_safetensors(model: nn.Module, file: Path | str) -> None:
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


def read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
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
