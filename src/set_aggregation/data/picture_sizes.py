"""The sizes of many image files, remembered from one start to the next."""

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track

from set_aggregation.data.image_files import read_image
from set_aggregation.data.image_set import Size


class Pictures(NamedTuple):
    """What is known of image files: the size of each that can be read, and why the others cannot."""

    sizes: dict[Path, Size]
    unreadable: dict[Path, str]


def picture_sizes(folder: Path, files: Sequence[Path]) -> Pictures:
    """Decodes every file once and remembers its size, upright, until the file changes.

    A file is known by its length and the time of its last change. What is known lies in the user's cache folder; where
    that cannot be written, a warning says so and the files are read again the next time.

    Args:
        folder: the folder of the files.
        files: image files below it.
    """
    cache = _cache_file(folder)
    before = _load(cache)
    known: dict[str, list[int]] = {}
    unreadable: dict[Path, str] = {}
    stamps = {file: [(stat := file.stat()).st_mtime_ns, stat.st_size] for file in files}
    names = {file: file.relative_to(folder).as_posix() for file in files}
    new = []
    for file in files:
        entry = before.get(names[file], [])
        if entry[:2] == stamps[file]:
            known[names[file]] = entry
        else:
            new.append(file)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding leaves Python's lock to others
            for file, result in zip(new, _shown(pool.map(_size_or_reason, new), len(new)), strict=True):
                if isinstance(result, str):
                    unreadable[file] = result
                else:
                    known[names[file]] = [*stamps[file], *result]
    finally:
        if new:
            _save(cache, known)
    sizes = {file: (known[name][2], known[name][3]) for file, name in names.items() if name in known}
    return Pictures(sizes, unreadable)


def _size_or_reason(file: Path) -> Size | str:
    try:
        h, w, _ = read_image(file, in_channels=3).shape
        return h, w
    except ValueError as error:
        return str(error.__cause__)


def _shown(results: Iterable[Size | str], num: int) -> Iterable[Size | str]:
    """A progress bar, where there is a terminal."""
    return track(
        results,
        f"looking at {num:,} pictures",
        num,
        console=Console(stderr=True),
        transient=True,
        disable=not num or not sys.stderr.isatty(),
    )


def _cache_file(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]
    return user_cache_path("set-aggregation") / "picture_sizes_v1" / f"{name}.json"


def _load(cache: Path) -> dict[str, list[int]]:
    """What is known; where the file is not there or broken, nothing."""
    try:
        known = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: entry for name, entry in known.items() if isinstance(entry, list) and len(entry) == 4}


def _save(cache: Path, known: dict[str, list[int]]) -> None:
    temporary = cache.with_suffix(f".{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known))
        temporary.replace(cache)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        warnings.warn(f"the sizes of the pictures cannot be kept in {cache} ({error.strerror})", stacklevel=3)
