"""Downloading and checking the files of a data set, against servers of our own."""

import gzip
import hashlib
import importlib
import io
import pickle
import socket
import struct
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from set_aggregation.data import CIFAR10, FashionMNIST
from set_aggregation.data.downloads import check_files, default_data_dir, download

# The modules, whose names the classes hide.
published_files = importlib.import_module("set_aggregation.data.downloads")
cifar10 = importlib.import_module("set_aggregation.data.cifar10")
fashion_mnist = importlib.import_module("set_aggregation.data.fashion_mnist")

FILES = {"pictures/a.bin": b"a" * 5000, "pictures/b.bin": b"b" * 3000}


def md5(content):
    return hashlib.md5(content).hexdigest()


def pack(files):
    """A .tar.gz of the given files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tree(folder):
    """All that lies in a folder: files with their content, folders with None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


class Server(ThreadingHTTPServer):
    """Serves archives by file name; the folder of the address says how it behaves."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archives = {}
        self.asked = []  # the first folder of each request
        self.released = threading.Event()
        self.outwaited = False  # silence lasted until the server gave up

    def address(self, behaviour):
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        _, behaviour, archive = self.path.split("/")
        if not self.server.asked or self.server.asked[-1] != behaviour:
            self.server.asked.append(behaviour)
        getattr(self, behaviour)(self.server.archives[archive])

    def answer(self, body, announced=None, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)

    def good(self, content):
        self.answer(content)

    def also_good(self, content):
        self.answer(content)

    def missing(self, content):
        self.answer(b"no such file", status=404)

    def failing(self, content):
        self.answer(b"out of order", status=503)

    def truncated(self, content):
        self.answer(content[: len(content) // 2], announced=len(content))

    def wrong(self, content):
        self.answer(content[:-1] + bytes([content[-1] ^ 1]))

    def page(self, content):
        self.answer(b"<html>Log in to the network of this hotel</html>")

    def empty(self, content):
        self.answer(b"")

    def hangs_up(self, content):
        self.close_connection = True

    def babbles(self, content):
        self.wfile.write(b"what is HTTP?\r\n\r\n")

    def runs_in_circles(self, content):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def silent(self, content):
        self.wait()

    def stalls(self, content):
        self.answer(content[: len(content) // 2], announced=len(content))
        self.wfile.flush()
        self.wait()

    def wait(self):
        if not self.server.released.wait(10):
            self.server.outwaited = True

    def log_message(self, *arguments):
        pass


FAILURES = ["missing", "failing", "truncated", "wrong", "page", "empty", "hangs_up", "babbles", "runs_in_circles"]
SILENCES = ["silent", "stalls"]


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def short_silence(monkeypatch):
    monkeypatch.setattr(published_files, "_SECONDS_OF_SILENCE", 0.5)


@pytest.fixture
def refused():
    """An address at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
def fetch(server):
    """Downloads the archive of FILES."""
    server.archives["pictures.tar.gz"] = pack(FILES)

    def fetch(folder, *addresses):
        archives = {"pictures.tar.gz": md5(server.archives["pictures.tar.gz"])}
        addresses = [server.address(each) if each.isidentifier() else each for each in addresses]
        download("Pictures", folder, archives, addresses, list(FILES))

    return fetch


EXACTLY_THE_FILES = {"pictures": None, **FILES}

# Success


def test_success_leaves_exactly_the_files(fetch, tmp_path):
    fetch(tmp_path / "data", "good")
    assert tree(tmp_path / "data") == EXACTLY_THE_FILES


def test_only_the_files_asked_for_are_put_in_place(fetch, server, tmp_path):
    server.archives["pictures.tar.gz"] = pack({**FILES, "pictures/readme.html": b"hello", "other.bin": b"?"})
    fetch(tmp_path, "good")
    assert tree(tmp_path) == EXACTLY_THE_FILES


def test_the_first_good_address_is_the_last_asked(fetch, server, tmp_path):
    fetch(tmp_path, "good", "also_good")
    assert server.asked == ["good"]


def test_other_files_of_the_folder_stay(fetch, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "mine.txt").write_bytes(b"mine")
    fetch(tmp_path, "good")
    assert tree(tmp_path) == {**EXACTLY_THE_FILES, "pictures/mine.txt": b"mine"}


def test_a_damaged_file_is_replaced(fetch, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.bin").write_bytes(b"half of it")
    fetch(tmp_path, "good")
    assert tree(tmp_path) == EXACTLY_THE_FILES


def test_relative_folder(fetch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetch(Path("data"), "missing", "good")
    assert tree(tmp_path / "data") == EXACTLY_THE_FILES


# The next address


@pytest.mark.parametrize("failure", [*FAILURES, *SILENCES])
def test_after_a_failure_the_next_address_is_used(fetch, server, tmp_path, failure):
    fetch(tmp_path, failure, "good")
    assert server.asked == [failure, "good"]
    assert tree(tmp_path) == EXACTLY_THE_FILES


@pytest.mark.parametrize("silence", SILENCES)
def test_silence_is_not_waited_out(fetch, server, tmp_path, silence):
    fetch(tmp_path, silence, "good")
    assert not server.outwaited


def test_after_a_refused_connection_the_next_address_is_used(fetch, refused, tmp_path):
    fetch(tmp_path, refused, "good")
    assert tree(tmp_path) == EXACTLY_THE_FILES


def test_the_checksum_is_asked_of_the_next_address_too(fetch, server, tmp_path):
    fetch(tmp_path, "missing", "wrong", "also_good")
    assert server.asked == ["missing", "wrong", "also_good"]
    assert tree(tmp_path) == EXACTLY_THE_FILES


def test_a_wrong_archive_that_unpacks_is_refused(fetch, server, tmp_path):
    """The checksum refuses it, and not the unpacking."""
    right = pack(FILES)
    evil = pack({**FILES, "pictures/b.bin": b"evil"})
    server.archives["pictures.tar.gz"] = evil
    with pytest.raises(ValueError, match="none of 2 addresses"):
        download(
            "Pictures",
            tmp_path / "data",
            {"pictures.tar.gz": md5(right)},
            [server.address("missing"), server.address("good")],
            list(FILES),
        )
    assert tree(tmp_path) == {}


# Every address fails


@pytest.mark.parametrize("failure", [*FAILURES, *SILENCES])
def test_failure_leaves_nothing(fetch, tmp_path, failure):
    with pytest.raises(ValueError, match="none of 2 addresses"):
        fetch(tmp_path / "new" / "data", "missing", failure)
    assert tree(tmp_path) == {}


def test_failure_leaves_a_folder_as_it_was(fetch, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.txt").write_bytes(b"mine")
    before = tree(tmp_path)
    with pytest.raises(ValueError, match="none of 2 addresses"):
        fetch(tmp_path, "truncated", "wrong")
    assert tree(tmp_path) == before


def test_failure_keeps_an_empty_folder_that_was_there(fetch, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match="none of 1 addresses"):
        fetch(tmp_path / "data" / "raw", "missing")
    assert tree(tmp_path) == {"data": None}


def test_failure_of_the_second_archive_leaves_nothing_of_the_first(server, tmp_path):
    first, second = (pack({name: content}) for name, content in FILES.items())
    server.archives = {"first.tar.gz": first, "second.tar.gz": second}
    with pytest.raises(ValueError, match=r"second\.tar\.gz"):
        download(
            "Pictures",
            tmp_path / "data",
            {"first.tar.gz": md5(first), "second.tar.gz": md5(b"something else")},
            [server.address("good")],
            list(FILES),
        )
    assert tree(tmp_path) == {}


def test_the_error_names_the_ways_out(fetch, tmp_path):
    with pytest.raises(ValueError, match="Pictures") as caught:
        fetch(tmp_path / "data", "missing", "wrong")
    for part in ("pictures/a.bin", str(tmp_path / "data"), "404", "--data.data_dir", "SAN_DATA_DIR", "--data Digits"):
        assert part in str(caught.value)
    assert "Connect to the network" in str(caught.value)


def test_interruption_leaves_nothing(fetch, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(published_files, "download_and_extract_archive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "data", "good")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("behaviour", ["good", "missing"])
def test_the_programs_own_time_limit_comes_back(fetch, tmp_path, behaviour):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(17.0)
    try:
        if behaviour == "good":
            fetch(tmp_path, behaviour)
        else:
            with pytest.raises(ValueError, match="none of 1"):
                fetch(tmp_path, behaviour)
        assert socket.getdefaulttimeout() == 17.0
    finally:
        socket.setdefaulttimeout(before)


# Checksums


@pytest.fixture
def checked(tmp_path):
    """Files in place, and their checksums."""
    (tmp_path / "pictures").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return {name: md5(content) for name, content in FILES.items()}


def test_right_files_pass(checked, tmp_path):
    check_files(tmp_path, checked)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"a", b"x" + FILES["pictures/a.bin"][1:], FILES["pictures/b.bin"] + b"b"])
def test_a_damaged_file_is_named(checked, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*expected MD5 {checked[name]}.*delete it"):
        check_files(tmp_path, checked)


def test_swapped_files_are_named(checked, tmp_path):
    (tmp_path / "pictures/a.bin").write_bytes(FILES["pictures/b.bin"])
    (tmp_path / "pictures/b.bin").write_bytes(FILES["pictures/a.bin"])
    with pytest.raises(ValueError, match=r"pictures/a\.bin"):
        check_files(tmp_path, checked)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(checked, tmp_path, name):
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=name):
        check_files(tmp_path, checked)


# The data folder


def test_data_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SAN_DATA_DIR", str(tmp_path))
    assert default_data_dir() == CIFAR10().data_dir == FashionMNIST().data_dir == tmp_path


def test_data_dir_is_data_otherwise(monkeypatch):
    monkeypatch.delenv("SAN_DATA_DIR", raising=False)
    assert default_data_dir() == CIFAR10().data_dir == FashionMNIST().data_dir == Path("data")


def test_a_given_data_dir_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("SAN_DATA_DIR", "elsewhere")
    assert CIFAR10(tmp_path).data_dir == FashionMNIST(tmp_path).data_dir == tmp_path


# CIFAR-10 and Fashion-MNIST, small, in their published form


def cifar_files():
    """The seven files of CIFAR-10 with ten images each."""
    generator = np.random.default_rng(0)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    files = {
        f"cifar-10-batches-py/{name}": pickle.dumps(
            {"data": generator.integers(0, 256, (10, 3072), dtype=np.uint8), "labels": list(range(10))}
        )
        for name in names
    }
    return {**files, "cifar-10-batches-py/batches.meta": pickle.dumps({"label_names": list(CIFAR10.class_names)})}


def fashion_files():
    """The four files of Fashion-MNIST with twenty and ten images."""
    generator = np.random.default_rng(0)
    files = {}
    for part, num in (("train", 20), ("t10k", 10)):
        pixels = generator.integers(0, 256, (num, 28, 28), dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">iiii", 2051, num, 28, 28) + pixels.tobytes()
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">ii", 2049, num) + bytes(number % 10 for number in range(num))
    return files


class Small:
    """A small data set that is published at the test server, and nowhere else."""

    def __init__(self, cls, files, folder):
        self.cls, self.files, self.folder = cls, files, folder

    def place(self, data_dir):
        for name, content in self.files.items():
            path = data_dir / self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.fixture
def small_cifar(server, monkeypatch):
    files = cifar_files()
    archive = pack({**files, "cifar-10-batches-py/readme.html": b"hello"})
    server.archives["cifar-10-python.tar.gz"] = archive
    checksums = {name: md5(content) for name, content in files.items()}
    monkeypatch.setattr(cifar10, "_CHECKSUMS", checksums)
    monkeypatch.setattr(cifar10, "_ADDRESSES", (server.address("missing"), server.address("good")))
    by_name = {Path(name).name: checksum for name, checksum in checksums.items()}
    for part in ("train_list", "test_list"):
        renewed = [[name, by_name[name]] for name, _ in getattr(datasets.CIFAR10, part)]
        monkeypatch.setattr(datasets.CIFAR10, part, renewed)
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": by_name["batches.meta"]})
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    return Small(CIFAR10, files, ".")


@pytest.fixture
def small_fashion(server, monkeypatch):
    files = fashion_files()
    server.archives.update({f"{name}.gz": gzip.compress(content) for name, content in files.items()})
    monkeypatch.setattr(fashion_mnist, "_CHECKSUMS", {name: md5(content) for name, content in files.items()})
    monkeypatch.setattr(fashion_mnist, "_ADDRESSES", (server.address("missing"), server.address("good")))
    resources = [(name, md5(server.archives[name])) for name, _ in datasets.FashionMNIST.resources]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    return Small(FashionMNIST, files, "FashionMNIST/raw")


@pytest.fixture(params=["small_cifar", "small_fashion"])
def small(request):
    return request.getfixturevalue(request.param)


def test_download_puts_exactly_the_files_of_the_data_set_in_place(small, tmp_path):
    small.cls(tmp_path / "data").prepare_data()
    found = {name: content for name, content in tree(tmp_path / "data" / small.folder).items() if content is not None}
    assert found == small.files


def test_what_was_downloaded_can_be_loaded(small, tmp_path):
    module = small.cls(tmp_path / "data")
    module.prepare_data()
    images, labels, num_official_test = module.load()
    assert images.dtype == torch.uint8
    assert images.shape[1:] == (small.cls.in_channels, *small.cls.image_size)
    assert len(images) == len(labels)
    assert num_official_test == 10


def test_images_are_read_with_channels_rows_and_columns_in_place(small_cifar, tmp_path):
    small_cifar.place(tmp_path)
    images, _, _ = CIFAR10(tmp_path).load()
    first = pickle.loads(small_cifar.files["cifar-10-batches-py/data_batch_1"])["data"][0]
    assert images[0].flatten().tolist() == first.tolist()  # stored as 1,024 red, then green, then blue, row by row


def test_nothing_is_downloaded_where_the_files_are(small, server, tmp_path):
    small.place(tmp_path)
    small.cls(tmp_path).prepare_data()
    assert server.asked == []


def test_one_missing_file_is_downloaded(small, server, tmp_path):
    small.place(tmp_path)
    name = next(iter(small.files))
    (tmp_path / small.folder / name).unlink()
    small.cls(tmp_path).prepare_data()
    assert (tmp_path / small.folder / name).read_bytes() == small.files[name]


def test_without_a_network_nothing_is_left(small, monkeypatch, refused, tmp_path):
    for module in (cifar10, fashion_mnist):
        monkeypatch.setattr(module, "_ADDRESSES", (refused,))
    with pytest.raises(ValueError, match=f"^{small.cls.__name__}: .*--data Digits"):
        small.cls(tmp_path / "data").prepare_data()
    assert tree(tmp_path) == {}


def test_every_damaged_file_of_a_data_set_is_named(small, tmp_path):
    for name, content in small.files.items():
        small.place(tmp_path)
        (tmp_path / small.folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=name):
            small.cls(tmp_path).setup("fit")


def test_a_data_dir_that_is_a_file(small, tmp_path):
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises((OSError, ValueError), match="data"):
        small.cls(tmp_path / "data").prepare_data()
    assert tree(tmp_path) == {"data": b"a file"}


def test_a_data_dir_in_the_home_folder(small, monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    module = small.cls(Path("~/data"))
    module.prepare_data()
    module.load()
    assert list((tmp_path / "home").iterdir()) == [tmp_path / "home" / "data"]
    assert tree(tmp_path / "work") == {}


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def evil(tmp_path):
    """A pickle that leaves a marker when it is loaded, and the marker."""
    marker = tmp_path / "marker"
    content = pickle.dumps(Evil(marker))
    pickle.loads(content)
    assert marker.exists()
    marker.unlink()
    return content, marker


@pytest.mark.parametrize("name", cifar_files())
def test_no_pickle_is_opened_before_its_checksum_holds(small_cifar, evil, tmp_path, name):
    content, marker = evil
    small_cifar.place(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        CIFAR10(tmp_path).load()
    assert not marker.exists()


def test_processed_files_of_old_torchvision_are_not_read(small_fashion, evil, tmp_path):
    content, marker = evil
    small_fashion.place(tmp_path)
    processed = tmp_path / "FashionMNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(content)
    module = FashionMNIST(tmp_path)
    module.prepare_data()
    images, _, _ = module.load()
    assert len(images) == 30
    assert not marker.exists()


def test_processed_files_do_not_stand_in_for_the_published_ones(small_fashion, evil, server, tmp_path):
    content, marker = evil
    (tmp_path / "FashionMNIST" / "processed").mkdir(parents=True)
    (tmp_path / "FashionMNIST" / "processed" / "training.pt").write_bytes(content)
    module = FashionMNIST(tmp_path)
    module.prepare_data()
    module.load()
    assert "good" in server.asked
    assert not marker.exists()
