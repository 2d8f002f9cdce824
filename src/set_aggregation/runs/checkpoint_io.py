"""How Lightning writes and reads checkpoints here: whole or not at all, checked, and in the background."""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.plugins import TorchCheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from set_aggregation.runs.checkpoint import read_checkpoint, write_checkpoint

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints with :func:`~set_aggregation.runs.checkpoint.write_checkpoint`.

    ``last.ckpt`` is written by a thread of its own, while training goes on: training waits only while the state is
    copied. One that is due while the one before is still being written is left out. What was ``last.ckpt`` before
    stays as ``previous.ckpt``. Every other checkpoint is written while training waits.

    Paths that are no local files, such as ``s3://...``, are left to Lightning.

    Args:
        on_error: what to do about a checkpoint that cannot be written, as on a full disk: ``"continue"`` says so in
            one line, the checkpoint before it stays and training goes on; ``"stop"`` ends training.

    Attributes:
        counted: files that ``last.ckpt`` counts the rows of; they lie on the disk before it does.

    Raises:
        OSError: with ``"stop"``, a checkpoint could not be written.
        ValueError: a checkpoint that is read is not there or damaged.
    """

    def __init__(self, on_error: Literal["continue", "stop"] = "continue") -> None:
        self.on_error = on_error
        self.counted: Sequence[Path] = ()
        self._writer: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None

    def save_checkpoint(
        self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: what to write.
            path: where to.
            storage_options: none are known.
        """
        if "://" in str(path):
            super().save_checkpoint(dict(checkpoint), path, storage_options)
            return
        file = Path(path)
        if file.name != LAST:
            self.wait()
            self._try(file, lambda: write_checkpoint(checkpoint, file))
        elif self._pending is None or self._pending.done():
            self.wait()
            copy = apply_to_collection(checkpoint, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
            if self._writer is None:
                self._writer = ThreadPoolExecutor(1, "checkpoint")
            self._pending = self._writer.submit(write_checkpoint, copy, file, file.with_name(PREVIOUS), self.counted)
            self._pending.file = file  # type: ignore[attr-defined] # for what may have to be said of it

    def wait(self) -> None:
        """Waits until all is written."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._try(pending.file, pending.result)  # type: ignore[attr-defined]

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a checkpoint onto the CPU, with ``weights_only=True`` whatever is asked for.

        Args:
            path: the file.
            *args: not used.
            **kwargs: not used.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, weights_only=True)
        self.wait()
        return read_checkpoint(Path(path))

    def teardown(self) -> None:
        """Ends the thread when all is written."""
        self.wait()
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None

    def _try(self, file: Path, write: Any) -> None:
        try:
            write()
        except OSError as error:
            words = f"got the checkpoint {file}, which cannot be written ({error.strerror or error})"
            if self.on_error == "stop":
                raise OSError(f"{words}; the one before it stays, make room and go on from it") from error
            # Of no line of the code, which would be shown too.
            warnings.warn(f"{words}: the one before it stays, and training goes on", stacklevel=1000)
