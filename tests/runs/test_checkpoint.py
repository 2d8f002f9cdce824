import os
import random

import pytest
import torch
from torch import nn

from set_aggregation.runs.checkpoint import DamagedCheckpointError, read_checkpoint, write_checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.ckpt"


def write(path, value, *more):
    write_checkpoint({"state_dict": {"number": torch.tensor(value)}}, path, *more)


def number(path):
    return int(read_checkpoint(path)["state_dict"]["number"])


def test_is_read_by_us_and_by_torch(path):
    write_checkpoint({"state_dict": nn.Linear(3, 2).state_dict(), "epoch": 4}, path)
    assert read_checkpoint(path, nn.Linear(3, 2))["epoch"] == 4
    assert torch.load(path, weights_only=True, mmap=True)["epoch"] == 4


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (nn.Linear(4, 2), r"its weight is \(2, 4\), expected \(2, 3\)"),
        (nn.Linear(3, 2, bias=False), r"its bias is missing, expected \(2,\)"),
        (nn.Sequential(nn.Linear(3, 2)), r"its 0\.bias is \(2,\), expected none"),
    ],
    ids=["wider", "no bias", "other names"],
)
def test_another_model(path, other, message):
    torch.save({"state_dict": other.state_dict()}, path)
    with pytest.raises(ValueError, match=rf"some\.ckpt.*another model: {message}"):
        read_checkpoint(path, nn.Linear(3, 2))


def test_missing_file(path):
    with pytest.raises(ValueError, match=r"not found: .*some\.ckpt"):
        read_checkpoint(path)


def is_found_or_harmless(path):
    """Whether a changed byte raises, or changes nothing that is read (padding, dates)."""
    try:
        return number(path) == 1
    except DamagedCheckpointError:
        return True


def test_changed_data_is_found_at_bytes_all_over_the_file(path):
    write(path, 1)
    whole, found = path.read_bytes(), 0
    for place in range(0, len(whole), 17):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert is_found_or_harmless(path)
        try:
            read_checkpoint(path)
        except DamagedCheckpointError:
            found += 1
    assert found > 20


def test_flipped_bit_of_a_weight_is_found(path):
    """torch.load alone reads it."""
    weights = torch.full((100,), 1.5)
    write_checkpoint({"state_dict": {"weight": weights}}, path)
    content = bytearray(path.read_bytes())
    content[content.find(weights.numpy().tobytes()) + 200] ^= 4
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["state_dict"]["weight"], weights)
    with pytest.raises(DamagedCheckpointError, match="damaged"):
        read_checkpoint(path)


def test_truncation_is_found(path):
    write(path, 1)
    whole = path.read_bytes()
    for size in range(0, len(whole), 29):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedCheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize("content", [random.Random(0).randbytes(1000), b"PK\x03\x04", b"state_dict: 1\n", b""], ids=len)
def test_other_bytes(path, content):
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=r"some\.ckpt"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [3, {}, {"state_dict": None}, {"state_dict": {"weight": 3}}], ids=str)
def test_saved_by_torch_but_no_checkpoint(path, content):
    torch.save(content, path)
    with pytest.raises(DamagedCheckpointError, match=r"some\.ckpt"):
        read_checkpoint(path)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_code_is_not_executed(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    torch.save({"state_dict": Bomb()}, path)
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(path)
    assert not (path.parent / "exploded").exists()


def test_previous_is_kept_and_the_folder_is_made(path):
    path = path.parent / "checkpoints" / path.name
    previous = path.with_name("before.ckpt")
    for value in (1, 2, 3):
        write(path, value, previous)
    assert (number(path), number(previous)) == (3, 2)
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="names open files by /proc")  # noqa: PTH110
def test_order_of_fsync_and_replace(path, monkeypatch):
    """Metrics first, then the checkpoint, then names, then the folder that holds them."""
    metrics, previous = path.with_name("metrics.csv"), path.with_name("before.ckpt")
    metrics.touch()
    write(path, 1)
    calls, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(descriptor):
        size = os.fstat(descriptor).st_size
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115, PTH119
        calls.append(("fsync", name, size if name.endswith("tmp") else None))
        fsync(descriptor)

    def noted_replace(a, b):
        calls.append(("replace", a.name, b.name))
        replace(a, b)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write(path, 2, previous, [metrics, path.with_name("none")])
    assert calls == [
        ("fsync", "metrics.csv", None),
        ("fsync", ".some.ckpt.tmp", path.stat().st_size),
        ("replace", "some.ckpt", "before.ckpt"),
        ("replace", ".some.ckpt.tmp", "some.ckpt"),
        ("fsync", path.parent.name, None),
    ]


@pytest.mark.parametrize("limit", [100, 999_000])
def test_full_system_raises_an_os_error_and_keeps_the_old_file(path, limit):
    """A file size limit stands in for a full disk, in the middle of PyTorch's writing."""
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
