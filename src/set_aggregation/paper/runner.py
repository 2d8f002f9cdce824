"""Makes the runs of a grid that are not there yet, several at a time, whatever happens to it."""

import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType

from set_aggregation.interruption import EXIT_CODE
from set_aggregation.paper.child import Child
from set_aggregation.paper.result_line import result_line
from set_aggregation.paper.results_file import append, key_of, read_results
from set_aggregation.paper.settings import Settings

_PAUSE = 0.2  # seconds between two looks at the children
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class Runner:
    """Makes runs in child processes and writes a line of results for each.

    Args:
        file: where the lines go; runs whose settings stand in any file of its folder are not made.
        root: the folder of all runs.
        environments: of the children that run at one time, one for each of them.
        keep_checkpoints: whether those of finished runs are kept.
    """

    def __init__(
        self, file: Path, root: Path, environments: Iterable[Mapping[str, str]], keep_checkpoints: bool = False
    ) -> None:
        self.file = file
        self.root = root
        self.keep_checkpoints = keep_checkpoints
        self._environments = list(environments)
        self._running: list[Child] = []
        self._failed: list[Child] = []
        self._made = 0
        self._interrupted = False
        self._signal: str | None = None

    def run(self, grid: Iterable[Settings]) -> int:
        """Makes what is not there.

        Args:
            grid: the runs.

        Returns:
            The exit code: 0, 1 if a run has failed, 75 if it was interrupted and the same command goes on.
        """
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            self._make_all(list(grid))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._say_how_it_went()

    def _make_all(self, grid: list[Settings]) -> None:
        there = self._there()
        missing = deque(settings for settings in grid if settings.key not in there)
        self._say(f"{len(grid)} runs, of which {len(grid) - len(missing)} are there")
        waits = False
        while self._running or (missing and not self._signal):
            for _ in range(len(missing)):
                if self._signal or len(self._running) == len(self._environments):
                    break
                settings = missing.popleft()
                if not self._begin(settings):
                    missing.append(settings)
            if missing and not self._running and not waits:
                waits = True
                self._say(f"waits for {len(missing)} runs that another process makes")
            time.sleep(_PAUSE)
            for child in [child for child in self._running if child.exit_code is not None]:
                self._running.remove(child)
                self._end(child)
        self._interrupted |= bool(missing)

    def _there(self) -> set[str]:
        return {key_of(line["settings"]) for line in read_results(self.file.parent)}

    def _begin(self, settings: Settings) -> bool:
        """Starts a run, unless somebody else is at it."""
        child = Child(settings, self.root)
        if not child.claim():
            return False
        if settings.key in self._there():  # by now
            child.release()
            return True
        place = min(set(range(len(self._environments))) - {other.place for other in self._running})
        self._running.append(child.start(place, self._environments[place]))
        self._say(f"begins {settings.label}")
        return True

    def _end(self, child: Child) -> None:
        if child.exit_code == 0:
            append(self.file, line := result_line(child.settings, child.folder))
            self._made += 1
            if not self.keep_checkpoints:
                shutil.rmtree(child.folder / "checkpoints", ignore_errors=True)
            accuracy = line["test_accuracy"]["best"]
            self._say(f"made {child.settings.label}: test accuracy {accuracy:.4f}, {line['seconds']:.0f} s")
        elif self._signal or child.exit_code == EXIT_CODE:
            self._interrupted = True
            self._say(f"stopped {child.settings.label}")
        else:
            self._failed.append(child)
            self._say(f"failed {child.settings.label}")
        child.release()

    def _note(self, number: int, frame: FrameType | None) -> None:
        for child in self._running:
            child.stop(signal.SIGKILL if self._signal else signal.SIGTERM)
        self._signal = signal.Signals(number).name
        os.write(2, f"\n{self._signal}: ends when the runs have saved what they have, again to kill them\n".encode())

    def _say_how_it_went(self) -> int:
        self._say(f"{self._made} runs made, {len(self._failed)} failed")
        for child in self._failed:
            self._say(f"failed: {child.settings.label}, exit code {child.exit_code}, {child.log}:\n{child.last_words}")
        if self._interrupted:
            self._say("interrupted: the same command goes on from here")
            return EXIT_CODE
        return 1 if self._failed else 0

    def _say(self, words: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)  # noqa: T201
