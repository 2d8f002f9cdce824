"""Lightning's CheckpointIO with atomic, validated files and a background writer."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.plugins import TorchCheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from set_aggregation.runs.checkpoint import read_checkpoint, write_checkpoint
from set_aggregation.runs.files import warn

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class UnfinishedRunError(OSError):
    """Error of a run whose last checkpoint or results could not be written; the run can be resumed."""

    exit_code = 74  # EX_IOERR of sysexits.h


class DurableCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically, ``last.ckpt`` in a background thread.

    Training waits only while the state for ``last.ckpt`` is copied. A ``last.ckpt`` that is due while the one before
    is still being written is skipped. The file it replaces becomes ``previous.ckpt``. Training waits for all other
    checkpoints. Remote paths such as ``s3://...`` are passed to Lightning.

    A checkpoint that cannot be written, for example on a full disk, is an error with ``on_error="stop"`` and else a
    warning: the checkpoint before it stays.
    """

    def __init__(self, on_error: Literal["continue", "stop"] = "continue") -> None:
        self.on_error = on_error
        self.metrics: Sequence[Path] = ()  # files to fsync before last.ckpt, which stores their row counts
        self.failed: dict[Path, str] = {}  # files whose newest write failed, and the reason
        self._writer: ThreadPoolExecutor | None = None
        self._pending: tuple[Path, Future[None]] | None = None

    def save_checkpoint(
        self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Write a checkpoint."""
        if "://" in str(path):
            super().save_checkpoint(dict(checkpoint), path, storage_options)
            return
        file = Path(path)
        if file.name != LAST:
            self.wait()
            self._try(file, lambda: write_checkpoint(checkpoint, file))
        elif self._pending is None or self._pending[1].done():
            self.wait()
            copy = apply_to_collection(checkpoint, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
            if self._writer is None:
                self._writer = ThreadPoolExecutor(1, "checkpoint")
            previous = file.with_name(PREVIOUS)
            self._pending = file, self._writer.submit(write_checkpoint, copy, file, previous, self.metrics)

    def wait(self) -> None:
        """Wait for the background writer."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._try(pending[0], pending[1].result)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, always with ``weights_only=True``."""
        if "://" in str(path):
            return super().load_checkpoint(path, weights_only=True)
        self.wait()
        return read_checkpoint(Path(path))

    def teardown(self) -> None:
        """Wait for the background writer and end it."""
        self.wait()
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None

    def _try(self, file: Path, write: Any) -> None:
        try:
            write()
            self.failed.pop(file, None)
        except OSError as error:
            self.failed[file] = str(error.strerror or error)
            message = f"the checkpoint {file} cannot be written ({self.failed[file]}); the one before it stays"
            if self.on_error == "stop":
                raise OSError(f"{message}; make room and resume") from error
            warn(f"{message}, and training continues")
