import os
import random

import pytest
import torch
from torch import nn

from set_aggregation.checkpoint_file import check_checkpoint


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
