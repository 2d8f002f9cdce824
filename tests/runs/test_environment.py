import subprocess
import sys

import pytest
import torch

from set_aggregation.runs import environment as module
from set_aggregation.runs.environment import devices_of, environment, multiplies_bfloat16
from tests.support.quiet_trainer import quiet_trainer

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


def test_command_and_versions(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py", "fit", "--run.name", "two words"])
    found = environment("some devices")
    assert found.keys() == {"command", "commit", "devices", "system", "versions"}
    assert found["command"] == "python main.py fit --run.name 'two words'"
    assert found["devices"] == "some devices"
    assert f"torch {torch.__version__.partition('+')[0]}" in found["versions"]
    assert f"Python {'.'.join(map(str, sys.version_info[:3]))}" in found["system"]


def test_devices_and_precision(tmp_path):
    devices = devices_of(quiet_trainer(tmp_path, precision="bf16-mixed"))
    assert devices.startswith("1 x cpu, ")
    assert devices.endswith(f", {torch.get_num_threads()} threads, precision bf16-mixed")


@pytest.mark.parametrize(("name", "expected"), [("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_processors_with_bfloat16(name, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, name: True})
    assert multiplies_bfloat16() is expected


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder in which the code of this package seems to be."""
    folder = tmp_path / "clone"
    (folder / "src" / "set_aggregation" / "runs").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(folder / "src" / "set_aggregation" / "runs" / "environment.py"))
    return folder


def git(folder, *words):
    return subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def commit_all(folder):
    git(folder, "init", "-q")
    (folder / "code.py").write_text("1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def test_commit_with_and_without_changes(clone):
    commit = commit_all(clone)
    assert environment("")["commit"] == commit
    (clone / "results").mkdir()
    (clone / "results" / "table2.jsonl").touch()
    assert environment("")["commit"] == commit
    (clone / "new.py").write_text("2\n")
    assert environment("")["commit"] == f"{commit} with changes"


@pytest.mark.parametrize("where", ["no repository", "repository around", "no git"])
def test_no_commit(clone, monkeypatch, where):
    if where == "repository around":
        commit_all(clone.parent)
    if where == "no git":
        commit_all(clone)
        monkeypatch.setenv("PATH", "")
    assert environment("")["commit"] == "unknown"
