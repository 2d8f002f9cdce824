"""Checkpoint files: written atomically, and validated when they are read."""

import errno
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from set_aggregation.runs.files import atomic_write, fsync


class DamagedCheckpointError(ValueError):
    """Error for a file that is truncated, changed, or not a checkpoint."""


def write_checkpoint(
    checkpoint: Mapping[str, Any], path: Path, previous: Path | None = None, metrics: Iterable[Path] = ()
) -> None:
    """Write a checkpoint atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for each in metrics:
        fsync(each)
    with atomic_write(path) as temporary:
        with temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # PyTorch's error for a file that is shorter than expected
                raise _os_error(error) from error
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)  # noqa: PTH105
    if os.name == "posix":
        fsync(path.parent)


def read_checkpoint(path: Path, model: nn.Module | None = None) -> dict[str, Any]:
    """Read a checkpoint onto the CPU and validate it.

    ``torch.load`` does not verify the CRC of its archive, so ``zipfile.testzip`` does. With ``weights_only=True`` no
    code in the file is executed.
    """
    if not path.is_file():
        raise ValueError(f"checkpoint not found: {path}; expected a file such as checkpoints/best.ckpt")
    try:
        with zipfile.ZipFile(path) as archive:
            if (member := archive.testzip()) is not None:
                raise ValueError(f"wrong CRC of {member}")
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(weight, Tensor) for weight in checkpoint["state_dict"].values()):
            raise ValueError("no weights")
    except Exception as error:  # torch.load raises exceptions of any class on other bytes
        raise DamagedCheckpointError(
            f"got the checkpoint {path}, which is damaged or no checkpoint of this project"
        ) from error
    if model is not None:
        check_weights(path, checkpoint["state_dict"], model)
    return checkpoint


def check_weights(path: Path, weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Check that weights have the names and shapes of a model's."""
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for name in sorted(shapes.keys() | expected.keys()):
        if shapes.get(name) != expected.get(name):
            raise ValueError(
                f"got the checkpoint {path} of another model: its {name} is {shapes.get(name, 'missing')}, expected "
                f"{expected.get(name, 'none')}; use the config.yaml of the checkpoint's run"
            )


def _os_error(error: BaseException) -> OSError:
    """Return the operating system's error among the causes of an error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return cause or OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {error}")
