"""Download and verification of the files of a published data set."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import download_and_extract_archive

_TIMEOUT = 20.0  # seconds without data; torchvision sets none


def default_data_dir() -> Path:
    """Return the folder of the data: ``$SAN_DATA_DIR``, otherwise ``data`` in the working folder."""
    return Path(os.environ.get("SAN_DATA_DIR") or "data")


def read_verified(file: Path, md5: str) -> bytes:
    """Return the content of a file after comparing it with its MD5 checksum."""
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(
            f"got {file}, which is damaged or not the published file (expected MD5 {md5}); delete it and run again to "
            "download it"
        )
    return content


def download(folder: Path, archives: Mapping[str, str], addresses: Sequence[str], files: Sequence[str]) -> None:
    """Download and unpack archives through torchvision, trying the addresses in turn.

    The files are unpacked in a temporary folder first, so that an interrupted download leaves no files.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            for archive, md5 in archives.items():
                _download_one(temporary, archive, md5, addresses, folder)
            for file in files:
                (folder / file).parent.mkdir(exist_ok=True)
                (Path(temporary) / file).replace(folder / file)
    finally:
        socket.setdefaulttimeout(before)
        for path in created:
            if not any(path.iterdir()):
                path.rmdir()


def _download_one(temporary: str, archive: str, md5: str, addresses: Sequence[str], folder: Path) -> None:
    failures = []
    for address in addresses:
        try:
            download_and_extract_archive(address + archive, temporary, filename=archive, md5=md5)
        except (OSError, HTTPException, RuntimeError) as error:
            failures.append(f"{address}: {error}")
        else:
            return
    raise ValueError(
        f"got no {archive} in {folder} and from none of {len(addresses)} addresses ({failures[0]}); connect to the "
        "network and run again, or name the folder that holds the data with --data.data_dir or SAN_DATA_DIR, or use "
        "--data Digits, which needs no download"
    )
