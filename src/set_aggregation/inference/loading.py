"""From a run, a checkpoint or a file to a module that can be used."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from set_aggregation.inference.classifier import ImageClassifier
from set_aggregation.inference.safetensors import read_safetensors
from set_aggregation.runs.checkpoint import check_weights, read_checkpoint

_CHECKPOINTS = ("best.ckpt", "last.ckpt")
_EXPECTED = "expected the folder of a run, such as lightning_logs/EXPERIMENT/RUN, a .ckpt or a .safetensors file"
# Of the data, what concerns a person's machine only.
_OF_MACHINE = ("data_dir", "root", "num_workers")
_OF_RESULTS = ("experiment", "run", "seed", "epochs", "steps", "best", "seconds", "environment")


def load(source: Path | str, device: torch.device | str = "cpu") -> ImageClassifier:
    """Gives a trained model, with the conversion of its images, in evaluation mode.

    Nothing in the files is executed: checkpoints are read with ``weights_only=True``, after their checksum was
    verified, and of what they name only backbones, aggregators and modules that are installed are built.

    Args:
        source: the folder of a run, of which ``checkpoints/best.ckpt`` is taken, else ``last.ckpt``; a checkpoint; a
            file of :func:`set_aggregation.save_safetensors`, or a folder of ``save_pretrained``.
        device: where to put it.

    Raises:
        ValueError: what is there is none of these, is damaged, or cannot be built here.
        MissingExtraError: a package is missing, which the extra that is named brings.

    Example:
        >>> load("no_run")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: got no_run, which is not there; expected the folder of a run, ...
    """
    file = find_file(Path(source))
    model = read_safetensors(file) if file.suffix == ".safetensors" else _of_checkpoint(file)
    return model.to(device)


def find_file(source: Path) -> Path:
    """The file that holds the weights.

    Args:
        source: what :func:`load` takes.

    Raises:
        ValueError: there is none.
    """
    if not source.exists():
        raise ValueError(f"got {source}, which is not there; {_EXPECTED}")
    if source.is_file():
        return source
    files = [*(source / "checkpoints" / name for name in _CHECKPOINTS), source / "model.safetensors"]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise ValueError(
            f"got the folder {source}, which has neither checkpoints/best.ckpt nor checkpoints/last.ckpt nor "
            f"model.safetensors; {_EXPECTED}"
        )
    return found


def _of_checkpoint(file: Path) -> ImageClassifier:
    checkpoint = read_checkpoint(file)
    missing = [name for name in ("hyper_parameters", "images") if name not in checkpoint]
    if missing:
        raise ValueError(
            f"got the checkpoint {file}, which does not say its {' and '.join(missing)}; expected one that main.py fit "
            "of this version wrote"
        )
    model = ImageClassifier(checkpoint["hyper_parameters"], checkpoint["images"], _training(file))
    check_weights(file, checkpoint["state_dict"], model.network)
    model.network.load_state_dict(checkpoint["state_dict"])
    return model


def _training(checkpoint: Path) -> dict[str, Any]:
    """What the folder of the run says of it."""
    folder = next((above for above in checkpoint.absolute().parents[:2] if (above / "config.yaml").is_file()), None)
    if folder is None:
        return {}
    data = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    settings = {name: value for name, value in data.get("init_args", {}).items() if name not in _OF_MACHINE}
    training = {"data": data["class_path"].rpartition(".")[2], "data_settings": settings}
    results = folder / "results.json"
    if not results.is_file():
        return training
    said: Mapping[str, Any] = json.loads(results.read_text())
    training |= {name: said[name] for name in _OF_RESULTS if name in said}
    if checkpoint.name == _CHECKPOINTS[0]:  # the one that was tested
        training["metrics"] = {name: value for name, value in said["metrics"].items() if name.startswith("test/")}
    return training
