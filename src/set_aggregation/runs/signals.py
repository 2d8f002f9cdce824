"""Stop signals: recorded during training, and handled when the state is saved."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from lightning.fabric.utilities.rank_zero import rank_zero_only

# SLURM sends SIGUSR1 before a job's time limit (--signal=USR1@60). A closed terminal sends SIGHUP.
_NAMES = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: try again


class Interrupted(BaseException):
    """Interruption of the run by a signal; not an Exception, so error handlers do not catch it."""

    def __init__(self, name: str, is_agreed: bool = False) -> None:
        super().__init__(f"stopped by {name}")
        self.is_agreed = is_agreed  # whether all ranks stop


class SignalHandler:
    """Handle SIGTERM, SIGINT (Ctrl-C), SIGUSR1 and SIGHUP inside a ``with`` block.

    While ``waits`` is true the first signal is noted in ``signal``; else it raises :class:`Interrupted` at once. A
    second SIGINT ends the process. Signals that were ignored before, such as SIGHUP under ``nohup``, stay ignored.
    """

    def __init__(self) -> None:
        self.signal: str | None = None  # name of the first one
        self.waits = self._had_ctrl_c = False
        # Called with the number of the first signal, to forward it to the processes that this rank started.
        self.pass_on: Callable[[int], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.signal, self._had_ctrl_c, self._before = None, False, {}
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                try:
                    self._before[number] = signal.signal(number, self._note)
                except ValueError:  # only the main thread may set handlers
                    break
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._had_ctrl_c:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        self._had_ctrl_c |= number == signal.SIGINT
        if self.signal is None:
            self.signal = signal.Signals(number).name
            if self.pass_on is not None and number != signal.SIGINT:  # a terminal sends SIGINT to all processes
                self.pass_on(number)
            if not self.waits:
                raise Interrupted(self.signal)
            if getattr(rank_zero_only, "rank", 0) == 0:
                again = ", again to stop at once" if number == signal.SIGINT else ""
                with suppress(OSError):  # of a closed terminal
                    # print() may be what the signal interrupts, and is not reentrant.
                    os.write(2, f"\n{self.signal}: training stops when this step is saved{again}\n".encode())
