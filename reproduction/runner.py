"""Makes the runs of a grid that are not there yet, several at a time, whatever happens to it."""

import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from reproduction.child import Child
from reproduction.display import Display, left_in_words
from reproduction.result_line import result_line
from reproduction.results_file import append, read_results
from reproduction.settings import Settings, key_of
from reproduction.time_left import TimeLeft

_PAUSE = 0.2  # seconds between two looks at the children
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class Runner:
    """Makes runs in child processes and writes a line of results for each.

    Killed at any time it leaves nothing that the next one could not go on with: a line is there as a whole or not at
    all, a run whose process has been killed goes on from its last checkpoint, and one whose process lives on is
    waited for. Several runners on the same folders share the work.

    Args:
        file: where the lines go; runs whose settings stand in any file of its folder are not made.
        root: the folder of all runs.
        places: environment variables of each of the runs that are made at one time.
        keep_checkpoints: whether those of finished runs are kept.
    """

    def __init__(
        self, file: Path, root: Path, places: Sequence[Mapping[str, str]], keep_checkpoints: bool = False
    ) -> None:
        self.file = file
        self.root = root
        self.places = places
        self.keep_checkpoints = keep_checkpoints
        self._missing: deque[Settings] = deque()
        self._running: list[Child] = []
        self._failed: list[tuple[Child, str]] = []
        self._time_left = TimeLeft(len(places))
        self._num_runs = self._num_made = 0
        self._signals: list[int] = []
        self._is_stopping = self._is_interrupted = False
        self._display = Display()

    def run(self, grid: Sequence[Settings]) -> int:
        """Makes what is not there.

        Args:
            grid: the runs, each once.

        Returns:
            The exit code: 0, 1 if a run has failed, 75 if it was interrupted and the same command goes on.

        Raises:
            OSError: the results cannot be written; the runs that were being made are stopped, and go on next time.
            ValueError: the folder of the results holds something else.
        """
        there = self._there()
        self._missing.extend(settings for settings in grid if settings.key not in there)
        self._num_runs = len(grid)
        with self._signals_noted(), self._display:
            self._say(f"{_runs(len(grid))}, {len(grid) - len(self._missing)} of them there")
            try:
                self._make_all()
            finally:
                for child in self._running:
                    child.stop()
        return self._say_how_it_went()

    def _make_all(self) -> None:
        is_waiting = False
        while self._running or (self._missing and not self._signals):
            if self._signals:
                self._answer_signals()
            else:
                self._fill_places()
            if self._missing and not self._running and not is_waiting:
                is_waiting = True
                self._say(f"waiting for {_runs(len(self._missing))} that other processes make")
            time.sleep(_PAUSE if self._running else 10 * _PAUSE)
            for child in [child for child in self._running if child.exit_code is not None]:
                self._running.remove(child)
                self._end(child)
            self._show()
        self._is_interrupted |= bool(self._missing)

    def _there(self) -> set[str]:
        return {key_of(line["settings"]) for line in read_results(self.file.parent)}

    def _fill_places(self) -> None:
        for _ in range(len(self._missing)):
            if len(self._running) == len(self.places):
                break
            settings = self._missing.popleft()
            child = Child(settings, self.root)
            if not child.claim():
                self._missing.append(settings)
            elif settings.key in self._there():  # somebody else has made it by now
                child.release()
            else:
                place = min(set(range(len(self.places))) - {other.place for other in self._running})
                self._running.append(child.start(place, self.places[place]))
                self._say(f"begins {settings.label}")

    def _end(self, child: Child) -> None:
        settings, reason = child.settings, ""
        if child.exit_code == 0:
            try:
                line = result_line(settings, child.folder)
            except (OSError, ValueError, LookupError) as error:  # a full disk, for one
                reason = f"got no results ({type(error).__name__}: {error})"
            else:
                append(self.file, line)
                self._note_made(child, line)
        elif child.exit_code == os.EX_TEMPFAIL or self._signals:
            self._is_interrupted = True
            self._say(f"stopped {settings.label}")
        else:
            reason = child.ending
        if reason:
            self._failed.append((child, reason))
            self._say(f"failed {settings.label}")
        child.release()

    def _note_made(self, child: Child, line: Mapping[str, Any]) -> None:
        self._num_made += 1
        if not self.keep_checkpoints:
            shutil.rmtree(child.folder / "checkpoints", ignore_errors=True)
        accuracy = line["test_accuracy"]["best"]
        left = left_in_words(self._seconds_left()) if self._missing or self._running else ""
        self._say(f"made {child.settings.label}: test accuracy {accuracy:.4f}{left}")

    def _seconds_left(self) -> float | None:
        missing = ((settings, settings.epochs) for settings in self._missing)
        running = ((child.settings, child.settings.epochs - child.epoch) for child in self._running)
        return self._time_left.estimate([*missing, *running])

    def _show(self) -> None:
        for child in self._running:
            if seconds := child.seconds_per_epoch():
                self._time_left.note(child.settings, seconds)
        left = len(self._missing) + len(self._running) + len(self._failed)
        running = [(child.settings.label, child.epoch, child.settings.epochs) for child in self._running]
        self._display.show(self._num_runs - left, self._num_runs, running, self._seconds_left())

    @contextmanager
    def _signals_noted(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _answer_signals(self) -> None:
        """Asks the runs to save what they have. A second Ctrl-C kills them; SLURM sends SIGTERM up to three times."""
        if not self._is_stopping:
            self._is_stopping = True
            self._say("ends when the runs have saved what they have; a second Ctrl-C kills them")
            for child in self._running:
                child.stop()
        if self._signals.count(signal.SIGINT) > 1:
            for child in self._running:
                child.stop(signal.SIGKILL)

    def _say_how_it_went(self) -> int:
        self._say(f"{_runs(self._num_made)} made, {len(self._failed)} failed")
        for child, reason in self._failed:
            self._say(f"failed: {child.settings.label}: {reason}; {child.log} ends with\n{child.last_words}")
        if self._is_interrupted:
            self._say("interrupted: the same command goes on from here")
            return os.EX_TEMPFAIL
        return 1 if self._failed else 0

    def _say(self, words: str) -> None:
        self._display.say(words)


def _runs(num: int) -> str:
    return f"{num} run{'' if num == 1 else 's'}"
