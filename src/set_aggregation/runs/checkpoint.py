"""Checkpoints: atomic writes, validation when they are read, and Lightning's CheckpointIO with a background writer."""

import errno
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from set_aggregation.runs.files import atomic_write, fsync, warn

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class DamagedCheckpointError(ValueError):
    """Error for a file that is truncated, changed, or not a checkpoint."""


class UnfinishedRunError(OSError):
    """Error of a run whose last checkpoint or results could not be written; the run can be resumed."""

    exit_code = 74  # EX_IOERR of sysexits.h


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
            except RuntimeError as error:  # on a full disk; the system's error is among its causes
                cause: BaseException | None = error
                while cause is not None and not isinstance(cause, OSError):
                    cause = cause.__context__
                raise cause or OSError(errno.EIO, str(error)) from error
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)  # noqa: PTH105
    if os.name == "posix":
        fsync(path.parent)


def read_checkpoint(path: Path, model: nn.Module | None = None) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without executing code in it, and validate it."""
    if not path.is_file():
        raise ValueError(f"checkpoint not found: {path}; expected a file such as checkpoints/best.ckpt")
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.load does not verify the CRC.
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
    shapes, expected = ({name: tuple(w.shape) for name, w in each.items()} for each in (weights, model.state_dict()))
    for name in sorted(shapes.keys() | expected.keys()):
        if shapes.get(name) != expected.get(name):
            raise ValueError(
                f"got the checkpoint {path} of another model: its {name} is {shapes.get(name, 'missing')}, expected "
                f"{expected.get(name, 'none')}; use the config.yaml of the checkpoint's run"
            )


class DurableCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically, ``last.ckpt`` in a background thread.

    Training waits only while the state for ``last.ckpt`` is copied. A ``last.ckpt`` that is due while the one before
    is still being written is skipped. The file it replaces becomes ``previous.ckpt``.
    """

    def __init__(self, on_error: Literal["continue", "stop"] = "continue") -> None:
        self.on_error = on_error
        self.metrics: Sequence[Path] = ()  # files to fsync before last.ckpt, which stores their row counts
        self.waits = False  # whether training waits for last.ckpt too
        self.failed: dict[Path, str] = {}  # files whose newest write failed, and the reason
        self._writer: ThreadPoolExecutor | None = None  # made when needed: weight averaging copies what has none
        self._pending: tuple[Path, Future[None]] | None = None

    def save_checkpoint(
        self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Write a checkpoint."""
        file = Path(path)
        previous = file.with_name(PREVIOUS) if file.name == LAST else None
        if previous is None or self.waits:
            self.wait()
            self._try(file, lambda: write_checkpoint(checkpoint, file, previous, self.metrics))
        elif self._pending is None or self._pending[1].done():
            self.wait()
            copy = apply_to_collection(checkpoint, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
            self._writer = self._writer or ThreadPoolExecutor(1, "checkpoint")
            self._pending = file, self._writer.submit(write_checkpoint, copy, file, previous, self.metrics)

    def wait(self) -> None:
        """Wait for the background writer."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._try(pending[0], pending[1].result)

    teardown = wait

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, always with ``weights_only=True``."""
        self.wait()
        return read_checkpoint(Path(path))

    def _try(self, file: Path, write: Callable[[], None]) -> None:
        try:
            write()
            self.failed.pop(file, None)
        except OSError as error:
            self.failed[file] = str(error.strerror or error)
            message = f"the checkpoint {file} cannot be written ({self.failed[file]}); the one before it stays"
            if self.on_error == "stop":
                raise OSError(f"{message}; make room and resume") from error
            warn(f"{message}, and training continues")
