"""Initial weights from a checkpoint, for fine-tuning."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read the weights in a checkpoint of Lightning or in a file of a ``state_dict``."""
    if not file.is_file():
        raise ValueError(f"checkpoint not found: {file}; expected a file such as checkpoints/best.ckpt")
    try:
        if zipfile.is_zipfile(file):  # torch.load does not verify the CRC
            with zipfile.ZipFile(file) as archive:
                if (member := archive.testzip()) is not None:
                    raise ValueError(f"wrong CRC of {member}")
        content = torch.load(file, map_location="cpu", weights_only=True)
        weights: dict[str, Tensor] = content.get("state_dict", content)
        if not all(isinstance(weight, Tensor) for weight in weights.values()):
            raise ValueError("no weights")
    except Exception as error:  # torch.load raises exceptions of any class on other bytes
        raise ValueError(f"got {file}, which is damaged or no checkpoint") from error
    return weights


@torch.no_grad()
def take_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Copy the weights whose name and shape fit, and return a description of each other one.

    Example:
        >>> take_weights(nn.Linear(2, 3), {"weight": torch.zeros(3, 2), "bias": torch.zeros(4)})
        ['bias (is (4,), expected (3,))']
    """
    own = module.state_dict()
    unfit = {name for name, weight in weights.items() if name not in own or own[name].shape != weight.shape}
    fitting = {name: weight for name, weight in weights.items() if name not in unfit}
    if not fitting:
        raise ValueError(f"got init_from with {len(weights)} weights, none of which fits the {type(module).__name__}")
    module.load_state_dict(fitting, strict=False)
    left_out = [
        f"{name} (is {tuple(weights[name].shape)}, expected {tuple(own[name].shape)})"
        if name in own
        else f"{name} (not in this model)"
        for name in sorted(unfit)
    ]
    return left_out + [f"{name} (not in the checkpoint)" for name in own if name not in weights]
