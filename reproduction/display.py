"""What a person sees of a grid that is being run: bars in a terminal, lines elsewhere."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from set_aggregation.cli.duration import duration


class Display:
    """A bar for the grid and one for each run that is being made, below the lines of what has happened.

    Args:
        console: where to write; by default standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(highlight=False)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[unit]}")
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._grid = self._bars.add_task("all", total=None, unit="runs")
        self._runs: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, words: str) -> None:
        """Writes what has happened.

        Args:
            words: the line.
        """
        self._bars.console.print(f"{time.strftime('%H:%M:%S')} {words}", markup=False, soft_wrap=True)

    def show(
        self, num_made: int, num_runs: int, running: Iterable[tuple[str, int, int]], seconds_left: float | None
    ) -> None:
        """Draws the bars anew.

        Args:
            num_made: how many runs of the grid are there.
            num_runs: how many the grid has.
            running: name, epochs done and number of epochs of each run that is being made.
            seconds_left: for the whole grid, or None where nobody knows.
        """
        self._bars.update(self._grid, completed=num_made, total=num_runs, unit=f"runs{left_in_words(seconds_left)}")
        running = list(running)
        for name in self._runs.keys() - {name for name, _, _ in running}:
            self._bars.remove_task(self._runs.pop(name))
        for name, done, epochs in running:
            if name not in self._runs:
                self._runs[name] = self._bars.add_task(name, total=epochs, unit="epochs")
            self._bars.update(self._runs[name], completed=done)


def left_in_words(seconds: float | None) -> str:
    """How long it will take, as a person says it.

    Args:
        seconds: None where nobody knows, 0 where nothing is left.

    Example:
        >>> left_in_words(7384), left_in_words(None)
        (', about 2 h 03 min left', '')
    """
    return "" if not seconds else f", about {duration(seconds)} left"
