"""``results/*.jsonl``: one line for each finished run, whoever writes and whenever a writer is killed."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reproduction.settings import key_of


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The lines of all files. One that was not written to its end does not count.

    Args:
        folder: that of the results; where it is not there, there are none.

    Raises:
        ValueError: a line that is no line of results.
    """
    return [line for file in sorted(folder.glob("*.jsonl")) for line in _lines(file, file.read_bytes())]


def append(file: Path, line: Mapping[str, Any]) -> bool:
    """Adds a line, at once and for good, unless the settings stand in a file of this folder already.

    Args:
        file: a file of the folder of the results; it is made, with the folder.
        line: what to write, with the key ``"settings"``.

    Returns:
        Whether it was added.

    Raises:
        ValueError: a line that is no line of results.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file.parent / ".lock"):
        if key_of(line["settings"]) in {key_of(each["settings"]) for each in read_results(file.parent)}:
            return False
        with file.open("a+b") as opened:
            opened.seek(0)
            content = opened.read()
            end = b"\n" if _lacks_its_end(content) else b""
            if not end:
                opened.truncate(_end_of_lines(content))  # what a killed writer has left
            opened.write(end + json.dumps(line, sort_keys=True).encode() + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        _sync_names(file.parent)
    return True


def _end_of_lines(content: bytes) -> int:
    return content.rfind(b"\n") + 1


def _lacks_its_end(content: bytes) -> bool:
    """Whether the last line is whole but for its end, as editors leave it; what a killed writer has left is not."""
    try:
        json.loads(content[_end_of_lines(content) :])
    except ValueError:
        return False
    return True


def _lines(file: Path, content: bytes) -> Iterator[dict[str, Any]]:
    whole = content + b"\n" if _lacks_its_end(content) else content[: _end_of_lines(content)]
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("settings"), dict):
            raise ValueError(
                f"got {file} with line {number}, which is no result; expected a JSON object with settings: "
                "mend or remove the line"
            )
        yield line


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync_names(folder: Path) -> None:
    """Forces the folder to the disk, in which a file may be new."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
