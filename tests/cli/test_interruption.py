"""Runs that are ended from outside, as processes of their own, and the same command again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cli_runner import CSV, DIGITS, ROOT, environment_of_a_person, run_cli
from tests.support.wandb_file import read

pytestmark = pytest.mark.e2e

SMALL = ("--data.num_train=128", "--data.val_size=32", "--data.batch_size=32", "--model.aggregator.out_features=8")
LONG = (*SMALL, "--trainer.log_every_n_steps=1", "--curves.num_images=9", "--recovery.every_n_steps=3", "--resume=auto")
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp")
PATIENCE = 120


class Started:
    """``python main.py fit ...`` as a process group of its own."""

    def __init__(self, folder, *arguments, main=ROOT / "main.py"):
        self.run = folder / "lightning_logs" / "san_digits" / "cut"
        command = [sys.executable, main, "fit", *DIGITS, *LONG, "--run.name=cut", *arguments]
        # One thread, as in the process of the tests: with more, sums are rounded otherwise.
        clean = {**environment_of_a_person(), "OMP_NUM_THREADS": "1"}
        with (folder / "said").open("w") as said:
            self.process = subprocess.Popen(
                command, cwd=folder, env=clean, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.folder = folder

    def wait_for(self, is_there):
        """Waits until a condition holds, for as long as the process lives."""
        end = time.monotonic() + PATIENCE
        while not is_there():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    @property
    def said(self):
        return (self.folder / "said").read_text()

    def end(self, number, process_id=None):
        """Sends a signal, and gives the exit code."""
        os.kill(process_id or self.process.pid, number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(here):
    """Starts a run and waits for its first checkpoints; whatever is left of it ends with the test."""
    runs = []

    def start(*arguments, **options):
        runs.append(Started(here, *arguments, **options))
        runs[-1].wait_for((runs[-1].run / "checkpoints" / "previous.ckpt").exists)
        return runs[-1]

    yield start
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait(PATIENCE)


def rows(run):
    """Return the rows in all W&B files of a run without repeats, and the number of files."""
    files = sorted((run / "wandb").glob("offline-run-*/*.wandb"))
    ours = ("train/", "val/", "curve/", "test/accuracy", "test/loss", "trainer/", "epoch")
    history = [
        tuple(sorted((name, value) for name, value in row.items() if name.startswith(ours)))
        for file in files
        for row in read(file).history
    ]
    return set(history), len(files)


EPOCHS = "--trainer.max_epochs=16"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing ended."""
    here = tmp_path_factory.mktemp("whole")
    assert run_cli(here, "fit", *DIGITS, *LONG, EPOCHS, "--run.name=whole").code == 0
    return here / "lightning_logs" / "san_digits" / "whole"


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGKILL, marks=pytest.mark.nightly), signal.SIGTERM],
    ids=lambda number: number.name,
)
def test_goes_on_in_files_and_in_wandb(here, start, whole, number):
    run = start(EPOCHS)
    # W&B's own process makes its file, on a busy machine after the first checkpoints.
    run.wait_for(lambda: any(file.stat().st_size for file in run.run.rglob("*.wandb")))
    code = run.end(number)
    assert code == (75 if number == signal.SIGTERM else -signal.SIGKILL)
    assert run_cli(here, "fit", *DIGITS, *LONG, EPOCHS, "--run.name=cut").code == 0
    cut = run.run
    assert (cut / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    (rows_of_both, num_files), (expected, _) = rows(cut), rows(whole)
    assert num_files == 2
    if number == signal.SIGTERM:
        assert rows_of_both == expected
    else:  # a killed process may lose the last rows
        assert rows_of_both <= expected
        assert len(rows_of_both) > 0.8 * len(expected)
    assert len({read(file).run_id for file in cut.rglob("*.wandb")} - {""}) == 1


MAIN_THAT_COUNTS = """
import os
from pathlib import Path
from set_aggregation.cli.main import main

try:
    main()
finally:
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    os.write(1, f"threads of gloo: {names.count('pt_gloo_runloop')}\\n".encode())
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are seen in /proc only")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(each, marks=pytest.mark.nightly) for each in (signal.SIGINT, signal.SIGUSR1, None)),
    ],
    ids=lambda number: number.name if number else "none",
)
def test_signal_to_the_first_of_two_ranks(here, start, number):
    """A thread of gloo that is left when Python ends could end the process by SIGABRT."""
    main = here / "main.py"
    main.write_text(MAIN_THAT_COUNTS)
    run = start(*TWO, *CSV, f"--trainer.max_epochs={2000 if number else 20}", main=main)
    assert (run.end(number) if number else run.process.wait(PATIENCE)) == (75 if number else 0)
    assert run.said.count("threads of gloo: 0") == 2, run.said
    assert not number or f"stopped by {number.name}: the same command resumes it" in run.said
    assert "Traceback" not in run.said


def other_rank(run):
    children = subprocess.run(["pgrep", "-P", str(run.process.pid)], capture_output=True, text=True).stdout.split()
    (other,) = (int(child) for child in children if "main.py" in Path(f"/proc/{child}/cmdline").read_text())
    return other


@pytest.mark.nightly  # tests/test_kill_and_resume.py does it to forked processes
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the process by /proc")
def test_rank_that_is_killed_ends_the_other(start):
    run = start(*TWO, *CSV, "--trainer.max_epochs=2000")
    started = time.monotonic()
    code = run.end(signal.SIGKILL, other_rank(run))
    assert time.monotonic() - started < 30
    assert code in (1, -signal.SIGKILL)  # by itself, or by Lightning, which looks at its processes every 5 s
    assert "Traceback" not in run.said
    if code == 1:
        assert "error: another rank has ended" in run.said
