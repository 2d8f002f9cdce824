"""A request to stop, by signal: noted while training, to be obeyed where nothing is lost."""

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer

# SIGUSR1 is what SLURM is usually told to send ahead of the end of a job's time (--signal=USR1@60).
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: not done, to be tried again


class Interrupted(BaseException):
    """A signal has ended the run; no error, so nothing that handles errors sees it.

    Args:
        name: of the signal.
        is_agreed: whether all ranks stop with this one.
    """

    def __init__(self, name: str, is_agreed: bool = False) -> None:
        super().__init__(f"stopped by {name}")
        self.name = name
        self.is_agreed = is_agreed


class Interruption:
    """Notes SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 while it is entered as a context.

    While :attr:`waits` is true somebody looks at :attr:`signal` and stops when nothing is lost; else the first signal
    raises :class:`Interrupted` at once. A second SIGINT ends the process at once, whatever it does.

    Attributes:
        signal: name of the first signal that came, or None.
        waits: whether somebody looks.
        pass_on: called with the number of the first signal, for the processes of other ranks that this one has started.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self.waits = self._had_ctrl_c = False
        self.pass_on: Callable[[int], None] = _do_nothing
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.signal, self._had_ctrl_c = None, False
        try:
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        except ValueError:  # only the main thread of a process may
            self._before = {}
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
            if number != signal.SIGINT:  # which a terminal gives to all of them
                self.pass_on(number)
            if not self.waits:
                raise Interrupted(self.signal)
            if getattr(rank_zero_only, "rank", 0) == 0:
                again = ", again to stop at once" if number == signal.SIGINT else ""
                # Not print: the signal may have come in the middle of one.
                os.write(2, f"\n{self.signal}: training stops when this step is saved{again}\n".encode())


def take_over_signals(trainer: Trainer) -> None:
    """Keeps Lightning from handling signals: it would end with exit code 0 and without a checkpoint, requeue jobs of
    SLURM by itself, and make every step of every rank wait for a broadcast.

    Args:
        trainer: before ``fit``.
    """
    trainer._signal_connector.register_signal_handlers = _do_nothing  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _do_nothing  # type: ignore[method-assign]


def _do_nothing(*_: object) -> None:
    """A lambda could not be handed to processes that are spawned."""
