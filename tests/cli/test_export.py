"""A trained model as a file that runs without the project."""

import re
import shutil
import sys

import pytest
import torch

from set_aggregation import load
from set_aggregation.inference.export import FORMATS
from tests.cli.test_bad_input import refused
from tests.support.cli_runner import ROOT, files_in, run_cli
from tests.support.small_classifier import POOLING, noise

pytestmark = pytest.mark.e2e


@pytest.fixture
def run(run_folder, tmp_path):
    """A copy of the run, to write into."""
    return shutil.copytree(run_folder, tmp_path / "run")


def test_the_page_shows_the_command():
    shown = re.findall(r"^python main.py (export .*)$", (ROOT / "docs" / "export.md").read_text(), re.M)
    assert shown == [
        "export --ckpt_path RUN/checkpoints/best.ckpt --format onnx",
        "export --ckpt_path RUN/checkpoints/best.ckpt --format pt2 --output model.pt2",
    ]


@POOLING
@pytest.mark.parametrize("name", FORMATS)
def test_a_checked_file_and_its_card_lie_beside_the_checkpoint(name, run, here):
    before = files_in(run)
    checkpoint = run / "checkpoints" / "best.ckpt"
    code, out, err = run_cli(here, "export", "--ckpt_path", checkpoint, "--format", name)
    assert (code, err) == (0, "")
    assert files_in(run) - before == {f"checkpoints/best.{name}", f"checkpoints/best.{name}.md"}
    assert files_in(here) == set()
    wrote, *differences, card = out.splitlines()
    file = checkpoint.with_suffix(f".{name}")
    assert wrote.startswith(
        f"wrote {file}, which takes bytes (uint8, 0 to 255) of shape (batch, 1, height, width), from "
    )
    assert [line.partition(":")[0] for line in differences] == ["1 x 1 x 16 x 16", "2 x 1 x 5 x 5", "3 x 1 x 25 x 32"]
    assert card == f"wrote {file}.md"
    images = noise(2, 1, 12, 20)
    torch.testing.assert_close(FORMATS[name].read(file)(images), load(run)(images).detach())


def test_the_card_says_what_was_found(run, here):
    code, out, _ = run_cli(here, "export", "--ckpt_path", run, "--format", "pt2", "--output", "digits.pt2")
    assert code == 0
    assert files_in(here) == {"digits.pt2", "digits.pt2.md"}
    card = (here / "digits.pt2.md").read_text()
    assert "# SAN on Digits" in card
    assert 'torch.export.load("digits.pt2")' in card
    assert out.splitlines()[1] in card
    for row in ("data | Digits, batch_size 32", "test accuracy | 0.", "seed | 0", "parameters | 56,3"):
        assert f"\n| {row}" in card


def test_a_file_with_other_outputs_is_removed(run, here, monkeypatch):
    read = FORMATS["pt2"].read
    change = FORMATS["pt2"]._replace(read=lambda file: lambda images: read(file)(images) + 0.01)
    monkeypatch.setitem(FORMATS, "pt2", change)
    line = refused(run, "export", "--ckpt_path", run, "--format", "pt2")
    assert "got a program with other outputs than the model (1 x 1 x 16 x 16: largest difference 1.0e-02" in line
    assert "expected at most 0.0001 of the largest" in line


def test_an_older_file_stays(run, here, monkeypatch):
    file = run / "checkpoints" / "best.pt2"
    file.write_text("before")
    change = FORMATS["pt2"]._replace(read=lambda file: lambda images: torch.full((len(images), 10), torch.nan))
    monkeypatch.setitem(FORMATS, "pt2", change)
    assert run_cli(here, "export", "--ckpt_path", run, "--format", "pt2").code == 1
    assert file.read_text() == "before"


MISTAKES = {
    "nothing": ((), 2, ("ckpt_path, format",)),
    "another format": (("--ckpt_path=x", "--format=tflite"), 2, ("got format tflite, expected 'onnx', 'pt2'",)),
    "a misspelt option": (("--ckpt_pth=x", "--format=pt2"), 2, ("got ckpt_pth", "did you mean ckpt_path?")),
    "no checkpoint": (("--ckpt_path=x", "--format=pt2"), 1, ("not found: x",)),
    "a folder that is not there": (
        ("--ckpt_path=RUN", "--format=pt2", "--output=no/a.pt2"),
        1,
        ("no/a.pt2, whose folder does not exist",),
    ),
}


@pytest.mark.parametrize(("arguments", "code", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(arguments, code, words, here, run_folder):
    given = [argument.replace("RUN", str(run_folder)) for argument in arguments]
    assert all(word in refused(here, "export", *given) for word in words)
    assert run_cli(here, "export", *given).code == code


def test_options_of_fit_before_it_are_refused(here, run_folder):
    (here / "empty.yaml").write_text("{}\n")
    line = refused(here, "--config", "empty.yaml", "export")
    assert "got --config" in line
    assert "export" in line


def test_without_the_extra_it_is_named(here, run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    line = refused(here, "export", "--ckpt_path", run_folder, "--format", "onnx", "--output", "a.onnx")
    assert "got no onnxscript, which is needed for ONNX files: pip install 'set-aggregation[export]'" in line


def test_help_says_what_there_is(here):
    shown = run_cli(here, "export", "--help").out
    assert all(option in shown for option in ("export --ckpt_path", "{onnx,pt2}", "--output"))
