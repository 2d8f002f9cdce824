"""A thread that does one thing after the other, while nobody waits for it."""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class BackgroundThread:
    """Makes calls in the order in which they were handed over; after one that failed it makes no more.

    Args:
        name: of the thread.
        max_waiting: how many calls may wait; one more is a failure, too.
        on_failure: called once with the reason, by whichever thread finds it.

    Attributes:
        failed: whether a call failed.

    Example:
        >>> thread = BackgroundThread("example", max_waiting=10, on_failure=print)
        >>> thread.call(print, "in another thread")
        >>> thread.call(int, "x")
        >>> thread.call(print, "is not printed")
        >>> thread.wait(10)
        in another thread
        invalid literal for int() with base 10: 'x'
        True
        >>> thread.close()
    """

    def __init__(self, name: str, max_waiting: int, on_failure: Callable[[BaseException], None]) -> None:
        self.max_waiting = max_waiting
        self.failed = False
        self._on_failure = on_failure
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[object, ...], bool] | None] = SimpleQueue()
        # A daemon: the end of the process does not wait for it.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def call(self, function: Callable[..., object], *arguments: object, always: bool = False) -> None:
        """Hands a call over, without waiting.

        Args:
            function: what to call.
            *arguments: what with.
            always: whether to make the call after a failure, too.
        """
        if always or (not self.failed and self._calls.qsize() < self.max_waiting):
            self._calls.put((function, arguments, always))
        elif not self.failed:
            self.fail(TimeoutError("it does not take what it is given"))

    def wait(self, seconds: float) -> bool:
        """Waits until all calls so far are made.

        Args:
            seconds: how long at most.

        Returns:
            Whether they are.
        """
        done = threading.Event()
        self.call(done.set, always=True)
        return done.wait(seconds)

    def fail(self, reason: BaseException) -> None:
        """Makes no more calls.

        Args:
            reason: why.
        """
        if not self.failed:
            self.failed = True
            self._on_failure(reason)

    def close(self) -> None:
        """Ends the thread after the calls so far, without waiting for it."""
        self._calls.put(None)

    def _work(self) -> None:
        while (task := self._calls.get()) is not None:
            function, arguments, always = task
            try:
                if always or not self.failed:
                    function(*arguments)
            except BaseException as error:
                self.fail(error)
