"""Checkpoints, looked at before anything is made of them."""

from pathlib import Path
from pickle import UnpicklingError

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
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except (RuntimeError, UnpicklingError, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"got --ckpt_path {path}, which is damaged or no checkpoint of this project") from error
    expected = model.state_dict()
    for name in sorted(weights.keys() | expected.keys()):
        got, wanted = (tuple(state[name].shape) if name in state else None for state in (weights, expected))
        if got != wanted:
            raise ValueError(
                f"got --ckpt_path {path} of another model: its {name} is {got or 'missing'}, expected "
                f"{wanted or 'none'}; give the config.yaml from the folder of the checkpoint's run"
            )
