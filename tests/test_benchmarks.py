"""Every benchmark runs, at sizes that say nothing about speed."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
TINY = {
    "input_pipeline": ["--images=512", "--batch_size=32"],
    "mixed_sizes": ["--images=300"],
    "preemption": ["--steps_per_turn=3", "--out_features=8"],
    "san_layer": ["--sizes=2,3,4", "--no_compile", "--no_memory"],
    "scaling": ["--batch_size=2", "--set_size=2", "--out_features=2", "--no_memory"],
    "startup": ["--quick"],
    "training_loop": [f"--config={ROOT / 'configs' / 'san_digits.yaml'}", "--batch_size=8", "--steps=1"],
}
SHARED = {"measuring", "random_images"}
ELSEWHERE = {"san_kernels"}  # tests/aggregators/kernels/test_sm90.py


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """Gives back what a program may change of its own process."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in SHARED:
        sys.modules.pop(name, None)


def test_every_benchmark_has_a_test():
    assert {path.stem for path in FOLDER.glob("*.py")} - SHARED - ELSEWHERE == TINY.keys()


@pytest.mark.parametrize("name", TINY)
@pytest.mark.filterwarnings("ignore")
def test_it_writes_a_dated_table(name, tmp_path, monkeypatch, capsys):
    words = [str(FOLDER / f"{name}.py"), "--rounds=1", "--threads=1", f"--folder={tmp_path}", *TINY[name]]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(words[0], run_name="__main__")
    (file,) = tmp_path.glob("*.txt")
    text = file.read_text()
    assert file.name.startswith(f"{name}_")
    assert text.splitlines()[0].startswith(f"# python benchmarks/{name}.py --rounds=1")
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert capsys.readouterr().out.endswith(text)
