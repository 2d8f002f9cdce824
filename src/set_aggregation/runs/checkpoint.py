"""Checkpoints on the disk: written as a whole or not at all, and looked at before anything is made of them."""

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

# A checkpoint is a zip archive, which may end in a comment of so many bytes; torch.load and other readers skip it.
# Before the comment two bytes say how long it is.
_COMMENT = re.compile(rb"\x47\x00sha256 ([0-9a-f]{64})")
_NO_COMMENT = re.compile(rb"PK\x05\x06.{16}\x00\x00\Z", re.DOTALL)


def write_checkpoint(
    checkpoint: Mapping[str, Any], path: Path, previous: Path | None = None, counted: Iterable[Path] = ()
) -> None:
    """Writes a checkpoint with its checksum. Whenever the program or the machine stops, a reader finds all of it or
    what was there before.

    The bytes go into a file beside it, then to the disk (fsync), then the file gets its name (rename). SHA-256 of the
    archive stands in the archive's comment.

    Args:
        checkpoint: what to write.
        path: the file.
        previous: where to keep what was there.
        counted: files of which the checkpoint says how much they hold; they lie on the disk before it does.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in counted:
        _to_disk(other)
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        with unfinished.open("w+b") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's, which found fewer bytes in the file than it had written
                raise _os_error(error) from error
            length = file.tell() - 2
            found = _sha256(file, length)
            file.seek(length)
            file.write(b"\x47\x00sha256 " + found)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)  # noqa: PTH105
        os.replace(unfinished, path)  # noqa: PTH105
    finally:
        unfinished.unlink(missing_ok=True)
    if os.name == "posix":  # the names of files are kept by their folder
        _to_disk(path.parent)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU. Nothing in the file is executed: it is read with ``weights_only=True``.

    Args:
        path: the file; one without a checksum, of another program, is read too.

    Raises:
        ValueError: a file that is not there, is torn or changed, or is no checkpoint.
    """
    if not path.is_file():
        raise ValueError(f"got the checkpoint {path}, which is not there; expected one, such as checkpoints/best.ckpt")
    try:
        with path.open("rb") as file:
            if not _sum_is_right(file):
                raise ValueError("its checksum is another one")
            file.seek(0)
            checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            if not all(isinstance(weight, Tensor) for weight in checkpoint["state_dict"].values()):
                raise ValueError("it has no weights")
    except Exception as error:  # what torch.load raises on bytes that are no checkpoint is not limited to any class
        raise ValueError(f"got the checkpoint {path}, which is damaged or no checkpoint of this project") from error
    return checkpoint


def check_checkpoint(path: Path, model: nn.Module) -> None:
    """Makes sure that a file is a whole checkpoint and belongs to a model.

    Args:
        path: the checkpoint.
        model: the model that shall take its weights.

    Raises:
        ValueError: a file that is not there, is damaged, or holds the weights of another model.
    """
    check_weights(path, read_checkpoint(path)["state_dict"], model)


def check_weights(path: Path, weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Makes sure that weights belong to a model.

    Args:
        path: the checkpoint that they come from.
        weights: its ``state_dict``.
        model: the model that shall take them.

    Raises:
        ValueError: they are those of another model.
    """
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for name in sorted(shapes.keys() | expected.keys()):
        if shapes.get(name) != expected.get(name):
            raise ValueError(
                f"got the checkpoint {path} of another model: its {name} is {shapes.get(name, 'missing')}, expected "
                f"{expected.get(name, 'none')}; give the config.yaml from the folder of the checkpoint's run"
            )


def _os_error(error: BaseException) -> OSError:
    """What the system said, of an error that came of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return cause or OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {error}")


def _to_disk(path: Path) -> None:
    if path.exists():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sum_is_right(file: BinaryIO) -> bool:
    """Whether the checksum at the end of a file is that of its content, or the archive says that it has none."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 73))
    tail = file.read()
    if stated := _COMMENT.fullmatch(tail):
        return _sha256(file, end - len(tail)) == stated[1]
    return _NO_COMMENT.search(tail) is not None


def _sha256(file: BinaryIO, length: int) -> bytes:
    """The checksum of the first bytes of a file, as hexadecimal digits."""
    file.seek(0)
    found = hashlib.sha256()
    while length > 0 and (data := file.read(min(length, 1 << 20))):
        found.update(data)
        length -= len(data)
    return found.hexdigest().encode()
