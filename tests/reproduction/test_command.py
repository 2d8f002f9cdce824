"""The command line."""

import subprocess
import sys

import pytest
import yaml

from reproduction.__main__ import main
from tests.support.cli_runner import ROOT


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "table9"], "invalid choice"),
        (["run", "table2", "--seeds", "3-1"], "got 3-1, expected a seed such as 3"),
        (["run", "table2", "--sizes", "0"], "got 0, expected a number of at least 1"),
        (["run", "table2", "--shard", "3/2"], "got 3/2, expected a share such as 1/8"),
        (["run", "table2", "--seed", "1"], "unrecognized arguments"),
        (["report", "--seeds", "1"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert words in error
    assert error.count("\n") == 1


def test_seeds(capsys):
    main(["sweep", "table2", "--data", "cifar10", "--seeds", "0-2", "7", "1"])
    assert yaml.safe_load(capsys.readouterr().out)["parameters"]["seed_everything"] == {"values": [0, 1, 2, 7]}


def test_options_of_trainings_are_refused_for_measurements(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["run", "theory", "--seeds", "0"]) == 1
    assert "trains nothing" in capsys.readouterr().err


def test_another_folder_is_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "table2"]) == 1
    assert "main.py" in capsys.readouterr().err


def test_sweep_is_printed(capsys):
    assert main(["sweep", "table2", "--data", "cifar10"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["parameters"]["width"] == {
        "values": [128, 256, 512, 1024, 2048, 4096]
    }


@pytest.mark.slow
def test_help_needs_no_torch():
    code = "import sys; from reproduction.__main__ import parser; parser(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
