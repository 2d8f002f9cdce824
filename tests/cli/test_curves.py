import sys
from functools import partial
from pathlib import Path

import pytest

from set_aggregation.cli.curves import run
from tests.support.run_folders import write_run

main = partial(run, "curves", "")


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """Two runs, in a folder below the working one."""
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        write_run(tmp_path / "logs" / f"{seed}", seed=seed)
    return tmp_path / "logs"


def refused(capsys, *arguments):
    """Exit code and the line of a usage error."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    return end.value.code, err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF"), ("a.html", b"<!doctype html>")]
)
def test_it_writes_what_the_ending_says(logs, capsys, name, start):
    assert main(["logs", "--out", name]) == 0
    assert Path(name).read_bytes().startswith(start)
    assert capsys.readouterr() == (f"wrote {name}: 2 runs, 0 left out\n", "")
    assert {path.name for path in Path().iterdir()} == {"logs", name}


def test_what_is_left_out_is_said(logs, capsys):
    write_run(logs / "late", without=("results.json",))
    write_run(logs / "bad", curves=[])
    write_run(logs / "2026-01-02_03-04-05_abcdef")
    assert main(["logs", "--out", "a.svg"]) == 0
    out, err = capsys.readouterr()
    assert out == "wrote a.svg: 2 runs, 3 left out\n"
    repeat, bad, late = err.splitlines()
    assert repeat.startswith("skipped logs/2026-01-02_03-04-05_abcdef: repeat: has the settings and the seed of logs/0")
    assert bad.startswith("skipped logs/bad: broken: got no curves")
    assert late.startswith("skipped logs/late: unfinished: ")


def test_nothing_to_draw_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "late", without=("results.json",))
    Path("empty").mkdir()
    assert main(["late", "empty", "--out", "a.png"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in err.splitlines()] == ["skipped empty", "skipped late", "error"]
    assert err.endswith("error: got no finished run in late, empty, expected at least one\n")
    assert not Path("a.png").exists()


@pytest.mark.parametrize("name", ["a.jpg", "a", ".png", "a.png.txt"])
def test_other_endings_are_refused_before_anything_is_read(logs, capsys, monkeypatch, name):
    monkeypatch.setattr("set_aggregation.cli.curves.find_runs", None)
    code, line = refused(capsys, "logs", "--out", name)
    assert code == 2
    assert f"got {name}, expected a file that ends in .html, .pdf, .png, .svg" in line


def test_folders_that_are_none_are_refused(logs, capsys):
    code, line = refused(capsys, "logs", "nowhere", "--out", "a.png")
    assert code == 2
    assert "got nowhere, which is no folder; expected the folder of a run" in line
    code, line = refused(capsys, "logs/0/config.yaml", "--out", "a.png")
    assert code == 2
    assert "got logs/0/config.yaml, which is no folder; expected the folder of a run" in line


@pytest.mark.parametrize("arguments", [("logs",), ("--out", "a.png"), (), ("logs", "--ou", "a.png")])
def test_what_is_missing_is_said_in_one_line(logs, capsys, arguments):
    code, line = refused(capsys, *arguments)
    assert code == 2
    assert "required" in line
    assert "--help" in line


def test_a_file_that_cannot_be_written_is_an_error(logs, capsys):
    assert main(["logs", "--out", "nowhere/a.svg"]) == 1
    expected = (
        "error: got --out nowhere/a.svg, which cannot be written (No such file or directory); give another file\n"
    )
    assert capsys.readouterr().err == expected
    Path("a.svg").mkdir()
    assert main(["logs", "--out", "a.svg"]) == 1
    assert "(Is a directory)" in capsys.readouterr().err
    assert {path.name for path in Path().iterdir()} == {"logs", "a.svg"}


def test_what_was_there_stays_until_the_new_is_whole(logs, monkeypatch):
    Path("a.svg").write_text("old")
    monkeypatch.setattr(Path, "write_bytes", lambda self, content: exec("raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        main(["logs", "--out", "a.svg"])
    assert Path("a.svg").read_text() == "old"


@pytest.mark.parametrize("name", ["matplotlib", "yaml", "jinja2"])
def test_without_the_extra_it_says_what_it_needs(logs, capsys, monkeypatch, forget_modules, name):
    forget_modules("set_aggregation.reports.")
    forget_modules(f"{name}.")
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["logs", "--out", "a.html"]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: got no {name}")
    assert line.endswith("for the learning curves: pip install 'set-aggregation[train]'\n")
