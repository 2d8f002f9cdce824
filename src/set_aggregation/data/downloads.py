"""Finding, downloading and checking the files of a published data set."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import check_integrity, download_and_extract_archive

_SECONDS_OF_SILENCE = 20.0


def default_data_dir() -> Path:
    """The folder of the data: ``$SAN_DATA_DIR``, else ``data`` in the working folder."""
    return Path(os.environ.get("SAN_DATA_DIR") or "data")


def check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Compares each file with its MD5 checksum, before anything reads it.

    Args:
        folder: where the files lie.
        checksums: MD5 of each, by path below the folder.

    Raises:
        ValueError: the first file that is not what was published.
    """
    for name, md5 in checksums.items():
        if not check_integrity(folder / name, md5):
            raise ValueError(
                f"got {folder / name}, which is damaged or not the published file (expected MD5 {md5}); "
                "delete it and run again to download it anew"
            )


def download(
    name: str, folder: Path, archives: Mapping[str, str], addresses: Sequence[str], files: Sequence[str]
) -> None:
    """Brings the files of a data set into a folder, all or none.

    Every address is tried in turn for each archive, and the same checksum asked of what it sends. Archives are
    fetched and unpacked in a temporary folder beside the goal, so that a broken download leaves nothing behind.

    Args:
        name: the data set, for messages.
        folder: where the archives are to be unpacked.
        archives: MD5 of each archive, by file name.
        addresses: where the archives are published; their names are appended.
        files: what the archives hold, by path below the folder.

    Raises:
        ValueError: no address gave a right archive.
        OSError: the folder cannot be written.
    """
    with _temporary_folder(folder) as temporary, _silence_ends_after(_SECONDS_OF_SILENCE):
        for archive, md5 in archives.items():
            failures = []
            for address in addresses:
                try:
                    download_and_extract_archive(address + archive, str(temporary), filename=archive, md5=md5)
                    break
                except (OSError, HTTPException, RuntimeError) as error:
                    failures.append(f"{address}: {error}")
            else:
                raise ValueError(
                    f"{name}: got no {files[0]} in {folder}, and none of {len(addresses)} addresses sent {archive} "
                    f"(the first said {failures[0]}). Connect to the network and run again, or name the folder that "
                    "holds the data with --data.data_dir or SAN_DATA_DIR, or use --data Digits, which needs no download"
                )
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (temporary / file).replace(folder / file)


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A folder on the same disk; the folders made for it go if nothing was put into them."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for path in made:
            if not any(path.iterdir()):
                path.rmdir()


@contextmanager
def _silence_ends_after(seconds: float) -> Iterator[None]:
    """torchvision sets no timeout: a server that accepts and then says nothing would hold us for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
