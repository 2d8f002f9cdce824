"""The runner: skipping, sharing, failing, being killed. The runs are stand-ins that train nothing."""

import os
import random
import signal
import time

import pytest

from tests.support.stand_in import children, kill, lines, log, make_project, run, runs, start

GRID = ("table2", "--data", "digits", "--aggregators", "max", "san", "--sizes", "8", "--epochs", "4")
pytestmark = pytest.mark.slow

ALL = [("max", 8, 0), ("max", 8, 1), ("san", 8, 0), ("san", 8, 1)]


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "project")


def wait_for(condition, process=None):
    """Waits until something is so."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.01)


def has_begun(project, name):
    """Whether a run has done an epoch."""
    return any("epoch 1/" in file.read_text() for file in (project / "lightning_logs" / "paper").glob(f"{name}*.log"))


def test_makes_a_line_for_each_run(project):
    code, out = run(project, *GRID, "--seeds", "0-1", "--jobs", 2)
    assert code == 0, out
    assert runs(project) == ALL
    assert {line["settings"]["seed"]: line["test_accuracy"] for line in lines(project)} == {
        0: {"best": 0.01, "last": 0.01},
        1: {"best": 0.02, "last": 0.02},
    }
    assert "4 runs, 0 of them done" in out
    assert "made digits, max, 8, seed 0, 4 epochs: test accuracy 0.0100" in out
    assert "4 made, 0 failed" in out


def test_nothing_is_made_again(project):
    run(project, *GRID, "--seeds", 0)
    code, out = run(project, *GRID, "--seeds", "0-1")
    assert code == 0
    assert "4 runs, 2 of them done" in out
    assert runs(project) == ALL
    assert log(project, "digits-max-8-seed0").count("threads") == 1


def test_runs_of_another_table_count(project):
    run(project, *GRID, "--seeds", 0)
    _, out = run(project, "figure3", *GRID[1:], "--seeds", 0)
    assert "2 runs, 2 of them done" in out


def test_finished_run_without_a_line_is_not_trained_again(project):
    """As after a kill between the two."""
    run(project, *GRID, "--seeds", "0-1")
    (project / "results" / "table2.jsonl").unlink()
    code, _ = run(project, *GRID, "--seeds", "0-1")
    assert (code, runs(project)) == (0, ALL)
    assert log(project, "digits-max-8-seed0").count("starts at") == 1


@pytest.mark.parametrize("keep", [False, True])
def test_checkpoints_of_finished_runs(project, keep):
    run(project, *GRID, "--seeds", 0, *(["--keep_checkpoints"] if keep else []))
    folders = [path for path in (project / "lightning_logs" / "paper").iterdir() if path.is_dir()]
    assert len(folders) == 2
    assert [(path / "checkpoints").exists() for path in folders] == [keep] * 2
    assert all((path / "results.json").exists() for path in folders)


def test_command_in_the_line_has_no_folder_of_this_machine(project):
    run(project, *GRID, "--seeds", 0)
    assert {line["environment"]["command"] for line in lines(project)} == {"python main.py fit --width=1"}


def test_threads_are_shared_out(project):
    run(project, *GRID, "--seeds", 0, "--jobs", 1)
    assert f"threads {len(os.sched_getaffinity(0))}\n" in log(project, "digits-max-8-seed0")


def test_failed_run_is_named_and_stops_no_other(project):
    code, out = run(project, *GRID, "--seeds", 90, 0, 92)
    assert code == 1
    assert runs(project) == [("max", 8, 0), ("san", 8, 0)]
    assert "2 made, 4 failed" in out
    end = out[out.index("2 made, 4 failed") :]
    assert "failed digits, max, 8, seed 90, 4 epochs: exit code 1;" in end
    assert "    what went wrong\n" in end
    assert "    error: got nothing good\n" in end
    assert "failed digits, san, 8, seed 92, 4 epochs: got no results: FileNotFoundError: " in end
    assert "6 runs, 2 of them done" in run(project, *GRID, "--seeds", 90, 0, 92)[1]  # the failed ones are tried again


def test_run_that_was_killed_has_failed(project):
    """By the system, which had no memory left, say."""
    process = start(project, *GRID[:-1], 60, "--seeds", 0, "--jobs", 2)
    wait_for(lambda: has_begun(project, "digits-max"), process)
    kill([child for child in children(process) if "model/max" in " ".join(child.cmdline())])
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "failed digits, max, 8, seed 0, 60 epochs: killed by SIGKILL; " in out
    assert runs(project) == [("san", 8, 0)]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_signal_ends_the_runs_and_the_command_goes_on(project, number):
    process = start(project, *GRID[:-1], 60, "--seeds", 0, "--jobs", 2)
    wait_for(lambda: has_begun(project, "digits-max") and has_begun(project, "digits-san"), process)
    ours = children(process)
    os.killpg(process.pid, number)  # as a terminal and SLURM do it
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 75, out
    assert "waiting for the runs to save their state" in out
    assert "interrupted; the same command resumes" in out
    assert len(ours) == 2
    assert not any(child.is_running() for child in ours)
    done = int(log(project, "digits-max").rsplit("epoch ", 1)[1].split("/")[0])
    assert run(project, *GRID[:-1], 60, "--seeds", 0, "--jobs", 2)[0] == 0
    assert f"starts at {done}\n" in log(project, "digits-max")


def test_signals_are_passed_on_once(project):
    process = start(project, *GRID[:-1], 60, "--seeds", 91, "--jobs", 2)  # these do not listen
    wait_for(lambda: has_begun(project, "digits-max") and has_begun(project, "digits-san"), process)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):  # SLURM may send several
        process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert out.count("waiting for the runs to save their state") == 1
    assert log(project, "digits-max").count("SIGTERM") == 1
    assert runs(project) == [("max", 8, 91), ("san", 8, 91)]


def test_run_that_is_stopped_by_somebody_else_leaves_the_others(project):
    process = start(project, *GRID[:-1], 60, "--seeds", 0, "--jobs", 2)
    wait_for(lambda: has_begun(project, "digits-max"), process)
    stopped = next(child for child in children(process) if "model/max" in " ".join(child.cmdline()))
    stopped.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "stopped digits, max, 8, seed 0" in out
    assert runs(project) == [("san", 8, 0)]


def test_two_at_the_same_time_share_the_work(project):
    both = [start(project, *GRID[:-1], 12, "--seeds", "0-5", "--jobs", 2) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert runs(project) == [(aggregator, 8, seed) for aggregator in ("max", "san") for seed in range(6)]
    assert sum(out.count("\n") > 0 and out.count(" made digits") for out in said) == 12
    assert all(" made digits" in out for out in said)
    assert not (project / "lightning_logs" / "two at one run").exists()


def test_run_whose_runner_was_killed_is_waited_for(project):
    process = start(project, *GRID[:-1], 60, "--aggregators", "max", "--seeds", 0)
    wait_for(lambda: has_begun(project, "digits-max"), process)
    process.kill()
    process.communicate()
    code, out = run(project, *GRID[:-1], 60, "--aggregators", "max", "--seeds", 0)
    assert code == 0, out
    assert "0 made, 0 failed" in out or "1 made, 0 failed" in out
    assert runs(project) == [("max", 8, 0)]
    assert log(project, "digits-max").count("starts at") == 1


@pytest.mark.nightly
def test_killed_at_random(project):
    draw = random.Random(0)
    command = (*GRID[:-1], 6, "--seeds", "0-3", "--jobs", 2)
    for _ in range(8):
        process = start(project, *command)
        time.sleep(draw.uniform(0.2, 1.5))
        ours, ending = children(process), draw.choice(["runner", "all", "signal"])
        process.send_signal(signal.SIGTERM if ending == "signal" else signal.SIGKILL)
        if ending == "all":
            kill(ours)
        process.communicate(timeout=30)
    code, out = run(project, *command)
    assert code == 0, out
    assert runs(project) == [(aggregator, 8, seed) for aggregator in ("max", "san") for seed in range(4)]
    assert not (project / "lightning_logs" / "two at one run").exists()


def test_shards_are_the_whole(project):
    for number in (2, 1):
        code, _ = run(project, *GRID, "--seeds", "0-1", "--shard", f"{number}/2")
        assert code == 0
        assert len(runs(project)) == (2 if number == 2 else 4)
    assert runs(project) == ALL


def test_results_that_cannot_be_written_leave_no_run_behind(project):
    command = (*GRID[:-1], 5, "--aggregators", "max", "--seeds", 0, 93, "--jobs", 2)  # the second is slow
    process = start(project, *command)
    wait_for(lambda: has_begun(project, "digits-max-8-seed0"), process)
    ours = children(process)
    (project / "results").write_text("no folder")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out.splitlines()[-1].startswith("error: ")
    for child in ours:
        child.wait(10)
    assert "epoch 5/" not in log(project, "digits-max-8-seed93")
    (project / "results").unlink()
    assert run(project, *command)[0] == 0
    assert runs(project) == [("max", 8, 0), ("max", 8, 93)]
