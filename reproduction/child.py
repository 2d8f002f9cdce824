"""A run of a grid as a process of its own: the same command line that a person would type."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from reproduction.fit_arguments import fit_arguments
from reproduction.settings import Settings

_EXPERIMENT = "paper"
_LAST_LINES = 5


class Child:
    """A run that is being made.

    Its log is also what claims it: nobody else makes the run as long as this process or the child lives, also when
    this one is killed and the child trains on.

    Args:
        settings: of the run.
        root: the folder of all runs.

    Attributes:
        folder: of the run.
        log: what it prints, and printed when it was made before.
        place: in which of the places of the machine it runs.
    """

    def __init__(self, settings: Settings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self.folder = root / _EXPERIMENT / settings.name
        self.log = self.folder.with_name(f"{settings.name}.log")
        self.place = 0
        self._seen, self._seen_at = 0, 0.0  # epochs, and when
        self._claim: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def claim(self) -> bool:
        """Keeps others from making this run.

        Returns:
            Whether nobody else is at it.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        claim = self.log.open("ab")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            return False
        self._claim = claim
        return True

    def release(self) -> None:
        """Lets others make this run."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def start(self, place: int, environment: Mapping[str, str]) -> Self:
        """Begins to train, or goes on.

        Args:
            place: in which of the places of the machine.
            environment: variables over those of this process.
        """
        assert self._claim is not None
        ours = (
            *("--trainer.logger=configs/logger/csv.yaml", "--test_last=true", "--resume=auto"),
            *(f"--run.root={self.root}", f"--run.experiment={_EXPERIMENT}", f"--run.name={self.settings.name}"),
        )
        self._process = subprocess.Popen(
            [sys.executable, "main.py", "fit", *fit_arguments(self.settings), *ours],
            stdin=subprocess.DEVNULL,
            stdout=self._claim,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C comes to this process only, which passes it on once
        )
        self.place = place
        self._seen, self._seen_at = self.epoch, time.monotonic()
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Tells it to save what it has and to end.

        Args:
            number: the signal.
        """
        if self._process is not None:
            self._process.send_signal(number)

    @property
    def exit_code(self) -> int | None:
        """With which code it has ended, less than 0 if by a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def ending(self) -> str:
        """How it has ended, in words."""
        code = self.exit_code or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @property
    def epoch(self) -> int:
        """How many epochs it has done."""
        done = re.findall(rb"^epoch (\d+)/", self.log.read_bytes(), re.M)
        return int(done[-1]) if done else 0

    def seconds_per_epoch(self) -> float | None:
        """What each of the epochs took that have come since this was asked last; None without such."""
        epoch, now = self.epoch, time.monotonic()
        if epoch <= self._seen:
            return None
        seconds = (now - self._seen_at) / (epoch - self._seen)
        self._seen, self._seen_at = epoch, now
        return seconds

    @property
    def last_words(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-_LAST_LINES:])
