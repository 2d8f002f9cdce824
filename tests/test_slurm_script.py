"""configs/slurm/fit.sbatch under a real SLURM of one machine; a stand-in for training says what happens to it."""

import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.cli_runner import ROOT
from tests.support.slurm import one_machine_slurm, skip_without_slurm

SCRIPT = ROOT / "configs" / "slurm" / "fit.sbatch"
# Like training: at the first of these signals it ends with 75 once all ranks have saved, with 1 where one of them is
# gone. The second time it has little left to do.
STAND_IN = """
import os, pathlib, signal, sys, time

def say(*words):
    line = " ".join(("rank", os.environ["SLURM_PROCID"], "restart", os.environ.get("SLURM_RESTART_COUNT", "0"), *words))
    print(line, flush=True)

def save(number, frame):
    global saved
    if not saved:
        say("saves", signal.Signals(number).name)
    saved = True

saved = False
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, save)
say("starts", *sys.argv[1:])
end = time.monotonic() + (1 if "SLURM_RESTART_COUNT" in os.environ else 300)
while time.monotonic() < end and not saved:
    time.sleep(0.1)
    if "--fail" in sys.argv and os.environ["SLURM_PROCID"] == "1":
        say("fails")
        sys.exit(1)
if not saved:
    say("has finished")
    sys.exit(0)
marks = [pathlib.Path(f"saved by {rank}") for rank in (0, 1)]
marks[int(os.environ["SLURM_PROCID"])].touch()
end = time.monotonic() + 3
while not all(mark.exists() for mark in marks) and time.monotonic() < end:
    time.sleep(0.1)
sys.exit(75 if all(mark.exists() for mark in marks) else 1)
"""


@pytest.fixture(scope="module")
def slurm():
    skip_without_slurm()
    # Not pytest's own folder: the path of a socket must not be longer than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    try:
        with one_machine_slurm(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def submit(slurm, tmp_path, monkeypatch):
    """Submits the script from a folder with the stand-in, waits until both ranks have started, gives job and output."""
    (tmp_path / "main.py").write_text(STAND_IN)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    numbers = []

    def submit(*arguments, options=()):
        numbers.append(number := slurm.submit("--ntasks-per-node=2", *options, SCRIPT, *arguments))
        output = tmp_path / f"slurm-{number}.out"
        deadline = time.monotonic() + 60
        while not output.exists() or output.read_text().count("starts") < 2:
            assert time.monotonic() < deadline, slurm.job(number)
            time.sleep(0.1)
        return number, output

    yield submit
    for number in numbers:
        if slurm.job(number)["JobState"] in ("PENDING", "RUNNING"):
            slurm.run("scancel", number)
            slurm.wait_for(number, "CANCELLED")


def events(output):
    """What the ranks say: rank, restart and words, in order of the restarts."""
    found = re.findall(r"^rank (\d) restart (\d) (.*)$", output.read_text(), re.M)
    return sorted((int(restart), int(rank), words.split(" --")[0]) for rank, restart, words in found)


def went_on(signal_name):
    """Two ranks that save, and two that start again and finish."""
    first = [(0, rank, words) for rank in (0, 1) for words in (f"saves {signal_name}", "starts fit")]
    return first + [(1, rank, words) for rank in (0, 1) for words in ("has finished", "starts fit")]


def test_starts_a_rank_for_each_task_with_the_arguments_of_the_command(slurm, submit):
    number, output = submit("--config", "configs/san_digits.yaml")
    ours = f"--trainer.num_nodes 1 --trainer.devices 2 --run.name slurm-{number} --resume auto"
    lines = [f"rank {rank} restart 0 starts fit --config configs/san_digits.yaml {ours}" for rank in (0, 1)]
    assert sorted(output.read_text().splitlines()) == lines


def test_goes_on_after_preemption(slurm, submit):
    number, output = submit()
    higher = slurm.submit("--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1")
    slurm.wait_for(higher, "COMPLETED")
    job = slurm.wait_for(number, "COMPLETED", "FAILED")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert events(output) == went_on("SIGTERM")


def test_goes_on_after_the_signal_before_the_time_limit(slurm, submit):
    number, output = submit(options=("--time=2",))
    job = slurm.wait_for(number, "COMPLETED", "FAILED", "TIMEOUT", seconds=180)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert events(output) == went_on("SIGUSR1")


def test_goes_on_after_requeue(slurm, submit):
    number, output = submit()
    slurm.run("scontrol", "requeue", number)
    job = slurm.wait_for(number, "COMPLETED", "FAILED")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert events(output) == went_on("SIGTERM")


def test_cancelled_saves_and_stays_cancelled(slurm, submit):
    number, output = submit()
    slurm.run("scancel", number)
    slurm.wait_for(number, "CANCELLED")
    time.sleep(7)  # longer than a requeued job waits
    assert slurm.job(number)["JobState"] == "CANCELLED"
    assert events(output) == [(0, rank, words) for rank in (0, 1) for words in ("saves SIGTERM", "starts fit")]


def test_rank_that_fails_ends_the_job(slurm, submit):
    number, _ = submit("--fail")
    job = slurm.wait_for(number, "FAILED", "COMPLETED", seconds=30)
    assert (job["JobState"], job["Restarts"]) == ("FAILED", "0")


def test_training_that_is_preempted_ends_as_one_that_is_not(slurm, tmp_path, monkeypatch):
    """The project itself on two ranks: preempted, requeued, gone on with by the same script."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    csv = ROOT / "configs" / "logger" / "csv.yaml"
    training = ("--config", "configs/san_digits.yaml", "--trainer.logger", csv, "--trainer.strategy", "ddp")
    small = ("--trainer.max_epochs=30", "--model.aggregator.out_features=8", "--data.augment=true")
    jobs = []
    for interrupted in (True, False):
        options = ("--ntasks-per-node=2", f"--output={tmp_path}/%j.out")
        number = slurm.submit(*options, SCRIPT, *training, *small, "--run.root", tmp_path)
        run = tmp_path / "san_digits" / f"slurm-{number}"
        if interrupted:
            deadline = time.monotonic() + 120
            while not (run / "checkpoints" / "previous.ckpt").exists():
                assert time.monotonic() < deadline, (tmp_path / f"{number}.out").read_text()
                assert slurm.job(number)["JobState"] in ("PENDING", "RUNNING"), (tmp_path / f"{number}.out").read_text()
                time.sleep(0.1)
            higher = slurm.submit("--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1")
            slurm.wait_for(higher, "COMPLETED")
        job = slurm.wait_for(number, "COMPLETED", "FAILED", "TIMEOUT", seconds=240)
        said = (tmp_path / f"{number}.out").read_text()
        assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1" if interrupted else "0"), said
        assert ("stopped by SIGTERM: the same command resumes it" in said) == interrupted
        jobs.append(run)
    preempted, whole = jobs
    assert (preempted / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
