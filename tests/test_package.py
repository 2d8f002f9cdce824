"""What the installed package promises."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import set_aggregation
from set_aggregation.cli import main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.slow
def test_the_library_imports_torch_and_jaxtyping_only():
    code = (
        "import sys\n"
        "from set_aggregation import aggregators, backbones, FeatureSet, Pool2d, replace_pooling\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    extra = {
        "lightning",
        "timm",
        "torchvision",
        "torchmetrics",
        "wandb",
        "jsonargparse",
        "rich",
        "sklearn",
        "matplotlib",
        "PIL",
        "torch_geometric",
        "huggingface_hub",
        "safetensors",
        "onnx",
    }
    assert not extra & set(done.stdout.split())
    assert [requirement.split(">")[0] for requirement in PROJECT["dependencies"]] == ["torch", "jaxtyping"]


def test_the_version_can_be_read_without_torch():
    code = "import sys, set_aggregation\nprint(set_aggregation.__version__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [set_aggregation.__version__, "False"]


def test_what_needs_more_is_imported_where_it_is_asked_for(monkeypatch):
    assert all(
        getattr(set_aggregation, name).__name__.removeprefix("set_aggregation.") == name
        for name in set_aggregation.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        set_aggregation.unload  # noqa: B018

    def is_missing(module):
        raise ModuleNotFoundError("No module named 'lightning'", name="lightning")

    monkeypatch.setattr(set_aggregation, "import_module", is_missing)
    with pytest.raises(
        ImportError, match=r"got no lightning\S*, .* set_aggregation.load: pip .*'set-aggregation\[train\]'"
    ):
        set_aggregation.load  # noqa: B018


@pytest.mark.slow
def test_the_command_does_not_import_what_only_some_runs_need():
    code = "import sys, set_aggregation.cli.run_command\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"wandb", "sklearn"} & set(done.stdout.split())


@pytest.mark.parametrize("option", ["-h", "--help", "--version", "curves --help"])
def test_what_says_what_there_is_imports_nothing_that_takes_time(option):
    code = (
        "import sys\nfrom set_aggregation.cli import main\ntry:\n    main()\n"
        "except SystemExit as end:\n    print(end.code, *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code, *option.split()], capture_output=True, text=True, check=True)
    *_, last = done.stdout.splitlines()
    exit_code, *modules = last.split()
    assert exit_code == "0"
    assert not {"torch", "lightning", "torchmetrics", "torchvision", "numpy", "jsonargparse"} & set(modules)


def test_the_console_script_is_main():
    (script,) = entry_points(group="console_scripts", name="set-aggregation")
    assert script.load() is main


def test_without_the_extra_the_command_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning", None)
    for name in ("run_command", "fit", "lightning_cli"):
        monkeypatch.delitem(sys.modules, f"set_aggregation.cli.{name}", raising=False)
    monkeypatch.delitem(sys.modules, "lightning.fabric.utilities.exceptions", raising=False)
    monkeypatch.delitem(sys.modules, "lightning.fabric.utilities", raising=False)
    monkeypatch.delitem(sys.modules, "lightning.fabric", raising=False)
    with pytest.raises(SystemExit, match=r"got no lightning\S*, which .* pip install 'set-aggregation\[train\]'"):
        main(["fit"])


def test_the_version_is_written_once():
    assert version("set-aggregation") == set_aggregation.__version__


def test_constraints_hold_versions_only():
    for name in ("constraints.txt", "constraints-oldest.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        assert all("==" in line and "/" not in line and "@" not in line for line in lines)
