"""Loading of a trained model from a run, a checkpoint or a safetensors file."""

from pathlib import Path

import torch

from set_aggregation.inference.classifier import ImageClassifier, read_safetensors
from set_aggregation.runs.checkpoint import check_weights, read_checkpoint

_CHECKPOINTS = ("best.ckpt", "last.ckpt")
_EXPECTED = "expected the folder of a run, such as lightning_logs/EXPERIMENT/RUN, a .ckpt or a .safetensors file"


def load(source: Path | str, device: torch.device | str = "cpu") -> ImageClassifier:
    """Return a trained model in evaluation mode, with its image preprocessing.

    One file is sufficient. No code in it is executed: checkpoints are checked for damage and read with
    ``weights_only=True``, and only installed backbones, aggregators and modules are built.

    Args:
        source: the folder of a run, of which it reads ``checkpoints/best.ckpt`` or else ``last.ckpt``; a checkpoint; a
            file of :func:`set_aggregation.save_safetensors`; or a folder of ``save_pretrained``.
        device: device of the model.

    Raises:
        ValueError: the source does not exist, is none of these, is damaged, or cannot be built here.
    """
    file = find_file(Path(source))
    if file.suffix == ".safetensors":
        config, weights = read_safetensors(file)
        model = ImageClassifier(**config)
        check_weights(file, weights, model)
        model.load_state_dict(weights)
        return model.to(device)
    checkpoint = read_checkpoint(file)
    if missing := [name for name in ("hyper_parameters", "images") if name not in checkpoint]:
        raise ValueError(f"got {file} without {' and '.join(missing)}; expected a checkpoint of main.py fit")
    training = {**checkpoint.get("training", {}), "epoch": checkpoint["epoch"] + 1}  # stored from 0
    model = ImageClassifier(checkpoint["hyper_parameters"], checkpoint["images"], training)
    weights = {name: weight for name, weight in checkpoint["state_dict"].items() if not name.startswith("loss.")}
    check_weights(file, weights, model.network)
    model.network.load_state_dict(weights)
    return model.to(device)


def find_file(source: Path) -> Path:
    """Return the file that holds the weights."""
    if not source.exists():
        raise ValueError(f"not found: {source}; {_EXPECTED}")
    if source.is_file():
        return source
    files = [*(source / "checkpoints" / name for name in _CHECKPOINTS), source / "model.safetensors"]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        names = "checkpoints/best.ckpt, checkpoints/last.ckpt and model.safetensors"
        raise ValueError(f"got the folder {source} without {names}; {_EXPECTED}")
    return found
