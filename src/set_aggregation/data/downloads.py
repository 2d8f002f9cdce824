"""Base class of published data sets: download and verification of their files."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

from torchvision.datasets.utils import download_and_extract_archive

from set_aggregation.data.in_memory import InMemoryImages

_TIMEOUT = 20.0  # seconds without data; torchvision sets none


class PublishedImages(InMemoryImages):
    """Images in memory from published files, which are downloaded if missing and verified when they are read.

    Args:
        data_dir: folder of the data; by default ``$SAN_DATA_DIR``, otherwise ``data``.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`.
    """

    folder: str  # of the unpacked archives, below data_dir
    files: ClassVar[Mapping[str, str]]  # names and MD5
    archives: ClassVar[Mapping[str, str]]
    addresses: Sequence[str]

    def __init__(self, data_dir: Path | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_dir = Path(data_dir or os.environ.get("SAN_DATA_DIR") or "data").expanduser()

    def prepare_data(self) -> None:
        """Download and unpack the archives if a file is missing."""
        folder, before = self.data_dir / self.folder, socket.getdefaulttimeout()
        if all((folder / name).exists() for name in self.files):
            return
        folder.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(_TIMEOUT)
        try:
            # An interrupted download leaves no files.
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
                for archive, md5 in self.archives.items():
                    self._download(archive, md5, temporary)
                for name in self.files:
                    (folder / name).parent.mkdir(exist_ok=True)
                    (Path(temporary) / name).replace(folder / name)
        finally:
            socket.setdefaulttimeout(before)

    def _download(self, archive: str, md5: str, folder: str) -> None:
        """Download and unpack an archive through torchvision, trying the addresses in turn."""
        failures = []
        for address in self.addresses:
            try:
                download_and_extract_archive(address + archive, folder, filename=archive, md5=md5)
                return
            except (OSError, HTTPException, RuntimeError) as error:
                failures.append(f"{address}: {error}")
        raise ValueError(
            f"got no {archive} in {self.data_dir / self.folder} and from none of {len(failures)} addresses "
            f"({failures[0]}); connect to the network and run again, or name the folder that holds the data with "
            "--data.data_dir or SAN_DATA_DIR, or use --data Digits, which needs no download"
        )

    def contents(self) -> dict[str, bytes]:
        """Read the files, each once, and compare them with their checksums."""
        contents = {}
        for name, md5 in self.files.items():
            file = self.data_dir / self.folder / name
            contents[name] = file.read_bytes() if file.is_file() else b""
            if hashlib.md5(contents[name], usedforsecurity=False).hexdigest() != md5:
                raise ValueError(
                    f"got {file}, which is damaged or not the published file (expected MD5 {md5}); delete it and run "
                    "again to download it"
                )
        return contents
