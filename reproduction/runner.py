"""Make the missing runs of a grid: a loop over ``main.py fit`` with resume.

Each run has its own process and folder. Its log file is also its lock: the runner and the training process hold
an ``flock`` on it, so that no other runner makes the same run as long as either of them lives.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, ClassVar, NamedTuple

from rich.console import Console
from rich.progress import Progress

from reproduction.records import append, keys, run_line
from reproduction.run_spec import RunSpec, as_words, fit_arguments

_EXPERIMENT = "paper"
_LOG_LINES = 5  # shown of a failed run
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)

# Without these glibc returns large temporary tensors to the system after each step: 49,000 page faults and 0.25 s of
# processor time a training step instead of 700 and 0.16 s (SAN with M = 1024, 256 images of 32x32, one thread of an AMD
# EPYC, glibc 2.36, torch 2.15.0).
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


class _Job(NamedTuple):
    """Active run of this process; ``slot`` is the index of its environment."""

    run: RunSpec
    slot: int
    log: IO[bytes]
    process: subprocess.Popen[bytes]


class Runner:
    """Make runs in child processes, and append a line of results for each; resume after any interruption."""

    poll: ClassVar[float] = 0.2  # seconds

    def __init__(
        self, file: Path, root: Path, environments: Sequence[Mapping[str, str]], keep_checkpoints: bool = False
    ) -> None:
        self.file = file  # of the results; runs that any file of its folder has are not made
        self.folder = root / _EXPERIMENT
        self.environments = environments  # environment variables of each of the runs that are made at a time
        self.keep_checkpoints = keep_checkpoints
        self._jobs: list[_Job] = []
        self._failures: list[str] = []
        self._num_made = 0
        self._has_signal = self._has_stopped_jobs = self._is_interrupted = False
        console = Console(highlight=False, soft_wrap=True)
        self._bar = Progress(console=console, disable=not console.is_terminal)

    def run(self, grid: Sequence[RunSpec]) -> int:
        """Make the missing runs, and return the exit code: 0, 1 if a run failed, 75 if interrupted."""
        done = keys(self.file.parent)
        missing = deque(run for run in grid if run.key not in done)
        self._print(f"{len(grid)} runs, {len(grid) - len(missing)} of them done")
        bar = self._bar.add_task("runs", total=len(missing))
        for number in _SIGNALS:
            signal.signal(number, self._interrupt)
        with self._bar:
            try:
                while self._jobs or (missing and not self._has_signal):
                    if self._has_signal:
                        self._stop_jobs()
                    else:
                        self._start_jobs(missing)
                    time.sleep(self.poll if self._jobs else 10 * self.poll)
                    for job in [job for job in self._jobs if job.process.poll() is not None]:
                        self._jobs.remove(job)
                        with job.log:
                            self._finish(job)
                        self._bar.advance(bar)
            finally:
                self._stop_jobs()
        self._print(f"{self._num_made} made, {len(self._failures)} failed")
        for failure in self._failures:
            self._print(f"failed {failure}")
        if self._is_interrupted or (self._has_signal and missing):
            self._print("interrupted; the same command resumes")
            return os.EX_TEMPFAIL
        return 1 if self._failures else 0

    def _start_jobs(self, missing: deque[RunSpec]) -> None:
        """Start runs until all slots are used or other runners make the remaining runs."""
        for _ in range(len(missing)):
            free = set(range(len(self.environments))) - {job.slot for job in self._jobs}
            if not free:
                return
            run, slot = missing.popleft(), min(free)
            self.folder.mkdir(parents=True, exist_ok=True)
            log = (self.folder / f"{run.name}.log").open("ab")
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.close()
                missing.append(run)
                continue
            if run.key in keys(self.file.parent):  # another runner made it in the meantime
                log.close()
                continue
            arguments = {
                **fit_arguments(run),
                "trainer.logger": "configs/logger/csv.yaml",
                "test_last": True,
                "resume": "auto",
                "run.root": str(self.folder.parent),
                "run.experiment": _EXPERIMENT,
                "run.name": run.name,
            }
            process = subprocess.Popen(
                [sys.executable, "main.py", "fit", *as_words(arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environments[slot]},
                start_new_session=True,  # a terminal's Ctrl-C reaches this process only, which passes it on once
            )
            self._jobs.append(_Job(run, slot, log, process))
            self._print(f"started {run.label}")

    def _finish(self, job: _Job) -> None:
        """Record the result of a run whose process has ended."""
        code, folder, label = job.process.returncode, self.folder / job.run.name, job.run.label
        if code == os.EX_TEMPFAIL or (code and self._has_stopped_jobs):
            self._is_interrupted = True
            self._print(f"stopped {label}")
            return
        if code:
            ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            lines = Path(job.log.name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
            failure = "\n    ".join([f"{ended}; {job.log.name} ends with", *lines])
        else:
            try:
                line = run_line(asdict(job.run), folder)
            except (OSError, ValueError, LookupError) as error:
                failure = f"got no results: {type(error).__name__}: {error}"
            else:
                append(self.file, line)
                self._num_made += 1
                if not self.keep_checkpoints:
                    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
                self._print(f"made {label}: test accuracy {line['test_accuracy']['best']:.4f}")
                return
        self._failures.append(f"{label}: {failure}")
        self._print(f"failed {label}")

    def _stop_jobs(self) -> None:
        """Signal the training processes once to save and exit."""
        if not self._has_stopped_jobs and self._jobs:
            self._has_stopped_jobs = True
            self._print("waiting for the runs to save their state")
            for job in self._jobs:
                job.process.terminate()

    def _interrupt(self, *_: object) -> None:
        self._has_signal = True

    def _print(self, text: str) -> None:
        self._bar.console.print(f"{time.strftime('%H:%M:%S')} {text}", markup=False)


def environments(jobs: int | None) -> list[dict[str, str]]:
    """Return the environment variables of each concurrent run; variables that are set are kept."""
    import torch  # takes seconds

    number, given = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = given.split(",")[:number] if given else [str(index) for index in range(number)]
    jobs = jobs or len(devices) or 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ours = {"OMP_NUM_THREADS": str(max(1, processors // jobs)), **_MALLOC}
    shared = {name: value for name, value in ours.items() if name not in os.environ}
    gpus = [{"CUDA_VISIBLE_DEVICES": device} for device in devices] or [{}]
    return [{**shared, **gpus[job % len(gpus)]} for job in range(jobs)]
