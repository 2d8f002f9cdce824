"""Every benchmark runs at a tiny size."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
TINY = {
    "fine_tuning": ["--epochs=1"],
    "input_pipeline": ["--images=512", "--batch_size=32"],
    "mixed_sizes": ["--images=300"],
    "preemption": ["--steps_per_turn=3", "--out_features=8"],
    "san_layer": ["--sizes=2,3,4", "--no_compile", "--no_memory"],
    "scaling": ["--batch_size=2", "--set_size=2", "--out_features=2", "--no_memory"],
    "startup": ["--quick"],
    "training_loop": ["--batch_size=8", "--steps=1"],
}
AT_NIGHT = {"fine_tuning", "mixed_sizes", "scaling", "startup"}  # ten seconds each
SHARED = {"measuring", "random_images"}
ELSEWHERE = {"gpu", "san_kernels"}  # below; tests/aggregators/_kernels/test_sm90.py


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """Restore what a program may change in its own process."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in SHARED:
        sys.modules.pop(name, None)


def test_every_benchmark_has_a_test():
    assert {path.stem for path in FOLDER.glob("*.py")} - SHARED - ELSEWHERE == TINY.keys()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] * (name in AT_NIGHT)) for name in TINY]
)
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


@pytest.mark.nightly
def test_rehearsal_of_the_gpu_day_runs_every_part_and_resumes(tmp_path):
    command = [sys.executable, FOLDER / "gpu.py", "--rehearse", f"--folder={tmp_path}", f"--results={tmp_path}"]
    first = subprocess.run([*command, "--minutes=0.5"], capture_output=True, text=True, check=False)
    assert first.returncode == 75, first.stdout + first.stderr  # no time for anything
    done = subprocess.run([*command, "--minutes=9"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"correctness", "training loop", "table2, seed 0"} <= json.loads(
        (tmp_path / "gpu_parts.json").read_text()
    ).keys()
    assert len((tmp_path / "table2.jsonl").read_text().splitlines()) == 1
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "==" not in again.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_one_line_names_the_rehearsal():
    done = subprocess.run([sys.executable, FOLDER / "gpu.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--rehearse" in done.stderr
    assert len(done.stderr.splitlines()) == 1
