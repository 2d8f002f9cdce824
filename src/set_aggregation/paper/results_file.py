"""``results/*.jsonl``: one line for each finished run, whoever writes and whenever a writer is killed."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def key_of(settings: Mapping[str, Any]) -> str:
    """A text that is the same for equal settings only.

    Args:
        settings: what identifies a run.
    """
    return json.dumps(settings, sort_keys=True)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The lines of all files. One that was not written to its end does not count: its run has not finished.

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
            whole = opened.read().rfind(b"\n") + 1
            opened.truncate(whole)  # what a killed writer has left of a line
            opened.write(json.dumps(line, sort_keys=True).encode() + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        _sync_names(file.parent)
    return True


def _lines(file: Path, content: bytes) -> Iterator[dict[str, Any]]:
    *whole, _ = content.split(b"\n")
    for number, text in enumerate(whole, start=1):
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
