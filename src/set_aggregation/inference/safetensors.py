"""A model as a ``.safetensors`` file that says how to build it."""

import json
import os
from pathlib import Path

from set_aggregation._extras import needs
from set_aggregation.inference.classifier import ImageClassifier

_KEY = "set_aggregation"


def save_safetensors(model: ImageClassifier, file: Path | str) -> None:
    """Writes a model into one `safetensors <https://huggingface.co/docs/safetensors>`_ file, which
    :func:`set_aggregation.load` reads: the weights, and in the metadata what the model is made of.

    A reader finds all of it or what was there before.

    Args:
        model: what to write.
        file: where to.

    Raises:
        MissingExtraError: safetensors is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from set_aggregation import load
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

    file = Path(file)
    unfinished = file.with_name(f".{file.name}.tmp")
    try:
        save_model(model, str(unfinished), metadata={"format": "pt", _KEY: json.dumps(model.config)})
        os.replace(unfinished, file)  # noqa: PTH105
    finally:
        unfinished.unlink(missing_ok=True)


def read_safetensors(file: Path) -> ImageClassifier:
    """Reads what :func:`save_safetensors` wrote.

    Args:
        file: the file.

    Raises:
        ValueError: another file, or one of another model.
        MissingExtraError: safetensors is not installed.
    """
    with needs("export", "for safetensors files"):
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_model

    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
        if _KEY not in metadata:
            raise ValueError(f"got {file}, which does not say of what model it is; expected a file of save_safetensors")
        model = ImageClassifier(**json.loads(metadata[_KEY]))
        load_model(model, file)
    except SafetensorError as error:
        raise ValueError(f"got {file}, which is damaged or no safetensors file") from error
    except RuntimeError as error:  # of load_state_dict
        raise ValueError(
            f"got {file}, whose weights are not those of its model: {' '.join(str(error).split())}"
        ) from error
    return model
