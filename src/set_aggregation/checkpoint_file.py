"""Checkpoints, looked at before anything is made of them."""

from pathlib import Path

import torch
from torch import nn


def check_checkpoint(path: Path, model: nn.Module) -> None:
    """Makes sure that a file is a whole checkpoint and belongs to a model.

    Nothing in the file is executed: it is read with ``weights_only=True``.

    Args:
        path: the checkpoint.
        model: the model that shall take its weights.

    Raises:
        ValueError: a file that is not there, is damaged, or holds the weights of another model.
    """
    if not path.is_file():
        raise ValueError(
            f"got --ckpt_path {path}, which is not there; expected a checkpoint, such as checkpoints/best.ckpt"
        )
    try:
        shapes = {
            name: tuple(weight.shape)
            for name, weight in torch.load(path, map_location="cpu", weights_only=True)["state_dict"].items()
        }
    except Exception as error:  # what torch.load raises on bytes that are no checkpoint is not limited to any class
        raise ValueError(f"got --ckpt_path {path}, which is damaged or no checkpoint of this project") from error
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for name in sorted(shapes.keys() | expected.keys()):
        if shapes.get(name) != expected.get(name):
            raise ValueError(
                f"got --ckpt_path {path} of another model: its {name} is {shapes.get(name, 'missing')}, expected "
                f"{expected.get(name, 'none')}; give the config.yaml from the folder of the checkpoint's run"
            )
