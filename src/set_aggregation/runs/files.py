"""Atomic and durable writes, and one-line warnings."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a file, and rename it to the file if the block succeeds.

    A reader finds the old file or the whole new one, whenever the program stops.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105
    finally:
        if temporary.is_file():
            temporary.unlink()


def fsync(path: Path) -> None:
    """Sync a file, or the names of the files in a folder, to disk."""
    if path.exists():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def warn(message: str) -> None:
    """Warn without a source line: a large stacklevel keeps Python from printing one."""
    warnings.warn(message, stacklevel=1000)
