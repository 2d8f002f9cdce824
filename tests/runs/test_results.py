import json
import os
import subprocess
import sys

import pytest
import torch

from set_aggregation.aggregators import GlobalAvgPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs import environment as environment_module
from set_aggregation.runs import results
from tests.support.noise import noise, small_classifier
from tests.support.quiet_trainer import quiet_trainer


def test_labels_of_a_san():
    torch.manual_seed(5)
    expected = {"aggregator": "SAN", "data": "Noise at 2 sizes", "width": 5, "seed": 5}
    assert results.labels(small_classifier(), noise(several_sizes=True)) == expected


@pytest.mark.parametrize(("hidden_features", "width"), [(None, 64), (12, 12)])
def test_width_is_what_the_last_layer_is_given(hidden_features, width):
    model = SetClassifier(SmallCNN(1), GlobalAvgPool, 10, hidden_features=hidden_features, dropout=0.1)
    assert results.labels(model, noise())["width"] == model.head.classifier.in_features == width


def test_parameters_of_each_part():
    counts = results.parameters(small_classifier(hidden_features=9))
    backbone = 9 * 32 + 32 + 9 * 32 * 64 + 64 + 9 * 64 * 64 + 64
    aggregator = (64 + 2) * 5 + 5  # channels and positions
    head = 5 * 9 + 9 + 9 * 7 + 7
    assert counts == {
        **{"backbone": backbone, "aggregator": aggregator, "head": head},
        "all": backbone + aggregator + head,
    }


def test_parameters_that_are_frozen_count():
    model = small_classifier()
    expected = results.parameters(model)
    assert results.parameters(model.requires_grad_(False)) == expected


# Environment


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py", "fit", "--run.name", "two words"])
    return results.environment(quiet_trainer(tmp_path, precision="bf16-mixed"))


def test_command_can_be_copied(environment):
    assert environment["command"] == "python main.py fit --run.name 'two words'"


def test_devices_and_precision(environment):
    assert environment["devices"].startswith("1 x cpu, ")
    assert environment["devices"].endswith(f", {torch.get_num_threads()} threads, precision bf16-mixed")


def test_versions(environment):
    assert f"torch {torch.__version__.partition('+')[0]}" in environment["versions"]
    packages = [package.split()[0] for package in environment["versions"].split(", ")]
    assert packages == ["set-aggregation", "torch", "torchvision", "lightning", "torchmetrics", "numpy"]
    assert f"Python {'.'.join(map(str, sys.version_info[:3]))}" in environment["system"]


def test_nothing_else(environment):
    assert set(environment) == {"command", "commit", "devices", "system", "versions"}


GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Where the code of this package would lie."""
    folder = tmp_path / "clone"
    (folder / "src" / "set_aggregation").mkdir(parents=True)
    monkeypatch.setattr(environment_module, "__file__", str(folder / "src" / "set_aggregation" / "environment.py"))
    return folder


def git(folder, *words):
    return subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def commit_all(folder):
    git(folder, "init", "-q")
    (folder / "code.py").write_text("1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def commit_of(folder):
    return results.environment(quiet_trainer(folder))["commit"]


def test_commit_of_the_code_from_any_folder(clone, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert commit_all(clone) == commit_of(tmp_path)


@pytest.mark.parametrize("file", ["code.py", "new.py"])
def test_commit_with_changes(clone, file):
    commit = commit_all(clone)
    (clone / file).write_text("2\n")
    assert commit_of(clone) == f"{commit} with changes"


def test_results_are_no_changes(clone):
    commit = commit_all(clone)
    (clone / "results").mkdir()
    (clone / "results" / "table2.jsonl").touch()
    assert commit_of(clone) == commit


def test_no_commit_outside_a_clone(clone):
    assert commit_of(clone) == "unknown"


def test_commit_of_another_repository_around_the_package_is_not_ours(clone):
    commit_all(clone.parent)
    assert commit_of(clone) == "unknown"


def test_no_commit_without_git(clone, monkeypatch):
    commit_all(clone)
    monkeypatch.setenv("PATH", "")
    assert commit_of(clone) == "unknown"


def test_no_commit_of_a_repository_without_one(clone):
    git(clone, "init", "-q")
    assert commit_of(clone) == "unknown"


# The best epoch


def test_best_epoch_is_the_number_of_epochs_that_were_done(tmp_path):
    keeper = {"best_model_score": torch.tensor(0.75)}
    torch.save({"epoch": 4, "state_dict": {}, "callbacks": {"keeper": keeper}}, tmp_path / "best.ckpt")
    assert results.best_epoch(tmp_path / "best.ckpt", "keeper") == (5, 0.75)


# The file


def test_file_is_json(tmp_path):
    content = {"a": 1, "b": [{"c": 0.1}], "d": "é"}
    results.write_results(tmp_path / "results.json", content)
    assert json.loads((tmp_path / "results.json").read_text()) == content
    assert os.listdir(tmp_path) == ["results.json"]  # noqa: PTH208


@pytest.mark.parametrize("failing", ["os.replace", "pathlib.Path.write_text"])
def test_file_is_whole_or_not_there(tmp_path, monkeypatch, failing):
    file = tmp_path / "results.json"
    with monkeypatch.context() as patched:
        patched.setattr(failing, fail)
        with pytest.raises(OSError, match="No space"):
            results.write_results(file, {"a": 1})
    assert not file.exists()
    results.write_results(file, {"a": 1})
    with monkeypatch.context() as patched:
        patched.setattr(failing, fail)
        with pytest.raises(OSError, match="No space"):
            results.write_results(file, {"a": 2})
    assert json.loads(file.read_text()) == {"a": 1}


def fail(*arguments, **options):
    raise OSError(28, "No space left on device")
