import os
import random

import pytest
import torch
from torch import nn

from set_aggregation.runs.checkpoint import check_checkpoint, read_checkpoint, write_checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.ckpt"


def test_own_checkpoint_passes(path):
    torch.save({"state_dict": nn.Linear(3, 2).state_dict(), "epoch": 4}, path)
    check_checkpoint(path, nn.Linear(3, 2))


def test_values_do_not_matter(path):
    torch.save({"state_dict": {"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}}, path)
    check_checkpoint(path, nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (nn.Linear(4, 2), r"its weight is \(2, 4\), expected \(2, 3\)"),
        (nn.Linear(3, 2, bias=False), r"its bias is missing, expected \(2,\)"),
        (nn.Bilinear(3, 2, 2), r"its weight is \(2, 3, 2\), expected \(2, 3\)"),
        (nn.PReLU(), r"its bias is missing, expected \(2,\)"),
        (nn.Sequential(nn.Linear(3, 2)), r"its 0\.bias is \(2,\), expected none"),
    ],
    ids=["wider", "no bias", "other rank", "fewer", "other names"],
)
def test_another_model(path, other, message):
    torch.save({"state_dict": other.state_dict()}, path)
    with pytest.raises(ValueError, match=rf"some\.ckpt of another model: {message}; give the config\.yaml"):
        check_checkpoint(path, nn.Linear(3, 2))


def test_not_there(path):
    with pytest.raises(ValueError, match=r"some\.ckpt, which is not there"):
        check_checkpoint(path, nn.Linear(3, 2))


def test_cut_off_anywhere(path):
    torch.save({"state_dict": nn.Linear(3, 2).state_dict()}, path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"some\.ckpt, which is damaged"):
            check_checkpoint(path, nn.Linear(3, 2))


@pytest.mark.parametrize("start", [b"", b"\x80\x02", b"PK\x03\x04"], ids=["any", "pickle", "zip"])
@pytest.mark.filterwarnings("ignore")  # torch guesses at what it may be
def test_random_bytes(path, start):
    generator = random.Random(0)
    for _ in range(300):
        path.write_bytes(start + generator.randbytes(generator.choice((1, 10, 100, 1000))))
        with pytest.raises(ValueError, match=r"some\.ckpt, which is damaged"):
            check_checkpoint(path, nn.Linear(3, 2))


@pytest.mark.parametrize("content", [b"state_dict: 1\n", b"# Notes\n", b"{}", b"\n"])
def test_text(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.ckpt, which is damaged"):
        check_checkpoint(path, nn.Linear(3, 2))


@pytest.mark.parametrize(
    "content",
    [[], 3, {}, {"model": {}}, {"state_dict": None}, {"state_dict": 3}, {"state_dict": {"weight": 3, "bias": 3}}],
    ids=str,
)
def test_saved_by_torch_but_no_checkpoint(path, content):
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"some\.ckpt"):
        check_checkpoint(path, nn.Linear(3, 2))


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_code_is_not_executed(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    torch.save({"state_dict": Bomb()}, path)
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        check_checkpoint(path, nn.Linear(3, 2))
    assert not (path.parent / "exploded").exists()


def number(path):
    return int(read_checkpoint(path)["state_dict"]["number"])


def write(path, value, *more):
    write_checkpoint({"state_dict": {"number": torch.tensor(value)}}, path, *more)


class TestWritten:
    def test_is_read_by_us_and_by_torch(self, path):
        write_checkpoint({"state_dict": nn.Linear(3, 2).state_dict(), "epoch": 4}, path)
        check_checkpoint(path, nn.Linear(3, 2))
        assert torch.load(path, weights_only=True)["epoch"] == 4
        assert torch.load(path, weights_only=True, mmap=True)["epoch"] == 4

    def test_every_flipped_bit_is_found(self, path):
        write(path, 1)
        whole = path.read_bytes()
        with path.open("r+b", buffering=0) as file:
            for place, byte in enumerate(whole):
                for bit in range(8):
                    file.seek(place)
                    file.write(bytes([byte ^ 1 << bit]))
                    with pytest.raises(ValueError, match=r"some\.ckpt, which is damaged"):
                        read_checkpoint(path)
                file.seek(place)
                file.write(bytes([byte]))
        assert number(path) == 1

    def test_every_truncation_is_found(self, path):
        write(path, 1)
        with path.open("r+b", buffering=0) as file:
            for size in reversed(range(path.stat().st_size)):
                file.truncate(size)
                with pytest.raises(ValueError, match=r"some\.ckpt, which is damaged"):
                    read_checkpoint(path)

    @pytest.mark.parametrize("more", [b"\0", b"x" * 5000], ids=len)
    def test_what_comes_after_is_found(self, path, more):
        write(path, 1)
        path.write_bytes(path.read_bytes() + more)
        with pytest.raises(ValueError, match=r"some\.ckpt, which is damaged"):
            read_checkpoint(path)

    def test_previous_is_kept(self, path):
        previous = path.with_name("before.ckpt")
        for value in (1, 2, 3):
            write(path, value, previous)
        assert (number(path), number(previous)) == (3, 2)
        assert len(list(path.parent.iterdir())) == 2

    @pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="names open files by /proc")  # noqa: PTH110
    def test_on_the_disk_before_it_has_its_name(self, path, monkeypatch):
        """Counted files first, then the checkpoint, then names, then the folder that keeps them."""
        counted, previous = path.with_name("metrics.csv"), path.with_name("before.ckpt")
        counted.touch()
        write(path, 1)
        done, fsync, replace = [], os.fsync, os.replace

        def noted_fsync(descriptor):
            size = os.fstat(descriptor).st_size
            name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115, PTH119
            done.append(("fsync", name, size if name.endswith("tmp") else None))
            fsync(descriptor)

        def noted_replace(a, b):
            done.append(("replace", a.name, b.name))
            replace(a, b)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "replace", noted_replace)
        write(path, 2, previous, [counted, path.with_name("none")])
        assert done == [
            ("fsync", "metrics.csv", None),
            ("fsync", ".some.ckpt.tmp", path.stat().st_size),
            ("replace", "some.ckpt", "before.ckpt"),
            ("replace", ".some.ckpt.tmp", "some.ckpt"),
            ("fsync", path.parent.name, None),
        ]

    @pytest.mark.parametrize("place", ["fsync", "replace"])
    def test_failure_leaves_what_was_there(self, path, monkeypatch, place):
        write(path, 1)

        def fail(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, place, fail)
        with pytest.raises(OSError, match="No space"):
            write(path, 2)
        assert number(path) == 1
        assert [file.name for file in path.parent.iterdir()] == ["some.ckpt"]

    def test_what_a_killed_process_left_is_written_over(self, path):
        path.with_name(".some.ckpt.tmp").write_bytes(b"x" * 100_000)
        write(path, 1)
        assert number(path) == 1
        assert [file.name for file in path.parent.iterdir()] == ["some.ckpt"]

    def test_folder_is_made(self, path):
        write(path.parent / "checkpoints" / path.name, 1)
        assert number(path.parent / "checkpoints" / path.name) == 1


@pytest.mark.parametrize("limit", [100, 500_000, 999_000])
def test_system_that_takes_no_more(path, limit):
    """In the middle of torch's writing, which says so in its own words: a file may not be larger than so many bytes."""
    resource = pytest.importorskip("resource")
    write(path, 1)
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=r"File too large|Input/output error"):
            write_checkpoint({"state_dict": {"weight": torch.zeros(250_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert number(path) == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]
