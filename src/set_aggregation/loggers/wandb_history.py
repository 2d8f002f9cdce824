"""What the files of a W&B run hold already, for a run that goes on."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_BLOCK, _HEADER, _START = 32768, 7, 7  # bytes of LevelDB's log format, after those that say what the file is
_WHOLE, _LAST_PART = 1, 4


def num_rows_with(key: str, folder: Path) -> int:
    """The number of rows in the histories of all W&B files in a folder that have a certain value.

    Args:
        key: name of the value.
        folder: ``wandb`` in the folder of the run.
    """
    return sum(_count(key, file) for file in folder.glob("*run-*/*.wandb") if not file.parent.is_symlink())


def remove_empty(folder: Path) -> None:
    """Removes what a process left that was killed before it wrote anything: `wandb sync` takes it for broken.

    Args:
        folder: ``wandb`` in the folder of the run.
    """
    for file in folder.glob("*run-*/*.wandb"):
        if not file.parent.is_symlink() and not any(_messages(file.read_bytes())):
            shutil.rmtree(file.parent, ignore_errors=True)


def wait_for_writers(folder: Path, seconds: float) -> None:
    """Waits until no process writes W&B's files in a folder: that of a run that was killed notices it a little later.

    Args:
        folder: ``wandb`` in the folder of the run.
        seconds: how long at most.
    """
    import psutil

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.Error):
                if process.info["name"].startswith("wandb-core") and any(
                    Path(file.path).is_relative_to(folder.absolute()) for file in process.open_files()
                ):
                    break
        else:
            return
        time.sleep(0.1)


def _count(key: str, file: Path) -> int:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    num = 0
    for message in _messages(file.read_bytes()):
        try:
            history = Record.FromString(message).history
        except DecodeError:  # the end of a file whose writer was killed
            break
        num += any(key in (item.key, *item.nested_key) for item in history.item)
    return num


def _messages(data: bytes) -> Iterator[bytes]:
    at, message = _START, b""
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:  # too little for a header: the rest of the block is empty
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        end = at + _HEADER + length
        if end > len(data):
            return
        message += data[at + _HEADER : end]
        at = end
        if kind in (_WHOLE, _LAST_PART):
            yield message
            message = b""
