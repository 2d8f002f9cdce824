"""A really trained grid: killed with SIGKILL and resumed, it equals a run by hand."""

import signal
import subprocess
import sys
import time
from dataclasses import asdict

import psutil
import pytest

from reproduction.grid import expand
from reproduction.records import run_line
from reproduction.run_spec import as_words, fit_arguments
from tests.support.cli_runner import CSV, ROOT, environment_of_a_person, run_cli
from tests.support.stand_in import children, kill, lines

CHOICE = {"data": ["digits"], "aggregators": ["san"], "sizes": [8], "train_sizes": ["all"], "seeds": [3], "epochs": 2}
COMMAND = ("run", "table3", "--data=digits", "--aggregators=san", "--sizes=8", "--train_sizes=all", "--seeds=3")


def start(folder):
    command = [sys.executable, "-m", "reproduction", *COMMAND, "--epochs=2"]
    # One thread, as in this process: of more, sums are rounded otherwise.
    environment = {**environment_of_a_person(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def start_and_kill(folder, run):
    """Kill a grid, with all of its processes, after its first checkpoint."""
    first, deadline = start(folder), time.monotonic() + 300
    while not (run / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.05)
    ours = children(first)
    first.send_signal(signal.SIGKILL)
    kill(ours)
    first.communicate()
    assert lines(folder) == []
    return ours


@pytest.mark.e2e
@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_run_ends_as_one_by_hand(tmp_path, is_killed):
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("main.py", "configs"):
        (folder / name).symlink_to(ROOT / name)
    (spec,) = expand("table3", **CHOICE)
    run = folder / "lightning_logs" / "paper" / spec.name
    log = run.with_name(f"{run.name}.log")

    ours = start_and_kill(folder, run) if is_killed else []
    second = start(folder)
    out, _ = second.communicate(timeout=400)
    assert second.returncode == 0, out
    assert ("Restored all states" in log.read_text()) == is_killed
    (line,) = lines(folder)

    arguments = ("--test_last=true", "--run.root=by_hand", "--run.name=a")
    code, _, err = run_cli(folder, "fit", *as_words(fit_arguments(spec)), *CSV, *arguments)
    assert code == 0, err
    (by_hand,) = (folder / "by_hand").glob("*/a")
    expected = run_line(asdict(spec), by_hand)
    for each in (line, expected):
        del each["seconds"], each["finished"], each["environment"]
    assert line == expected
    assert len(line["curves"]) == 2
    assert set(line["test_accuracy_per_size"]["last"]) == {"8x8", "12x12", "16x16", "20x20", "24x24"}
    assert not [process for process in ours if psutil.pid_exists(process.pid)]
