"""The theory experiments: each measured once, and what is there kept."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from reproduction import __main__ as command

CALLS = []


def measurement(p):
    def call():
        CALLS.append(p)
        if p == 3:
            raise KeyboardInterrupt
        return {"difference": 1 / p}

    return {"experiment": "remark1", "p": p, "seed": 0}, call


@pytest.fixture
def theory(monkeypatch, tmp_path):
    """Runs ``run theory`` with measurements of its own, and gives exit code and lines."""
    monkeypatch.chdir(tmp_path)
    Path("main.py").touch()
    Path("configs").mkdir()

    def run(*ps, arguments=()):
        CALLS.clear()
        module = ModuleType("reproduction.theory")
        module.measurements = lambda: map(measurement, ps)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        code = command.main(["run", "theory", *arguments])
        file = tmp_path / "results" / "theory.jsonl"
        return code, [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return run


def test_lines(theory, capsys):
    code, lines = theory(1, 2)
    assert code == 0
    assert [line["settings"] for line in lines] == [{"experiment": "remark1", "p": p, "seed": 0} for p in (1, 2)]
    assert [line["measured"] for line in lines] == [{"difference": 1.0}, {"difference": 0.5}]
    assert set(lines[0]) == {"settings", "measured", "seconds", "finished", "environment"}
    assert set(lines[0]["environment"]) == {"command", "commit", "devices", "system", "versions"}
    assert lines[0]["environment"]["command"] == "python -m reproduction run theory"
    assert "measured experiment remark1, p 2, seed 0: {'difference': 0.5}" in capsys.readouterr().out


def test_what_is_there_is_not_measured_again(theory):
    theory(1, 2)
    code, lines = theory(1, 2, 4)
    assert (code, CALLS, len(lines)) == (0, [4], 3)


def test_interruption_keeps_what_was_measured(theory, capsys):
    assert theory(2, 3, 4)[0] == 75
    assert capsys.readouterr().out.endswith("interrupted: the same command goes on from here\n")
    assert theory(2, 4)[1][0]["settings"]["p"] == 2
    assert CALLS == [4]


def test_options_of_trainings_are_refused(theory, capsys):
    assert theory(1, arguments=["--seeds", "1"]) == (1, [])
    assert (
        "error: got options of trainings for theory, which trains nothing; leave them out\n" in capsys.readouterr().err
    )
