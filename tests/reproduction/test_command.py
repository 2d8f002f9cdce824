"""Mistakes end in one line."""

import subprocess
import sys

import pytest

from reproduction import __main__ as command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "table9"), "invalid choice: 'table9'"),
        (("run", "table2", "--seed", "1"), "unrecognized arguments: --seed 1"),
        (("run", "table2", "--seeds", "4-2"), "got 4-2, expected a seed such as 3 or several such as 0-4"),
        (("run", "table2", "--seeds", "1-"), "got 1-, expected a seed"),
        (("run", "table2", "--seeds", "-1"), "got -1, expected a seed"),
        (("run", "table2", "--sizes", "0"), "got 0, expected a number of at least 1"),
        (("run", "table2", "--shard", "0/2"), "got 0/2, expected a share such as 1/8"),
        (("run", "table2", "--shard", "3/2"), "got 3/2, expected a share such as 1/8"),
        (("run", "table2", "--preset", "old"), "invalid choice: 'old'"),
        (("build",), "invalid choice: 'build'"),
        ((), "the following arguments are required: command"),
    ],
)
def test_wrong_words(arguments, said, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_choice_that_there_is_not(capsys):
    assert command.main(["run", "table2", "--train_sizes", "all"]) == 1
    assert capsys.readouterr().err == "error: got --train_sizes all for table2, expected none: images have one size\n"


@pytest.mark.parametrize(
    ("missing", "need"),
    [
        ("yaml", "pip install 'set-aggregation[train]'"),
        ("fcntl", "which Windows does not have; use Linux, macOS or WSL"),
    ],
)
def test_missing_package_is_named(monkeypatch, capsys, forget_modules, missing, need):
    forget_modules("reproduction.")
    monkeypatch.setitem(sys.modules, missing, None)
    assert command.main(["run", "table2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: got no {missing}, ")
    assert line.endswith(need)


def test_help_needs_no_torch():
    """Which takes seconds."""
    words = "import sys; from reproduction import command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
