import os
import signal

import pytest

from set_aggregation.runs.signals import Interrupted, SignalHandler

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP]


@pytest.fixture(autouse=True)
def survived():
    """A signal that is not handled must not end the tests."""
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_noted_while_training_checks(number, capfd):
    with SignalHandler() as handler:
        handler.waits = True
        os.kill(os.getpid(), number)
        assert handler.signal == number.name
    assert f"{number.name}: training stops when this step is saved" in capfd.readouterr().err


def test_raises_at_once_otherwise():
    with pytest.raises(Interrupted, match="stopped by SIGTERM") as error, SignalHandler():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")
    assert not isinstance(error.value, Exception)


def test_first_signal_counts():
    with SignalHandler() as handler:
        handler.waits = True
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert handler.signal == "SIGUSR1"
    with handler:
        assert handler.signal is None


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in SIGNALS]
    with SignalHandler():
        assert all(signal.getsignal(number) != old for number, old in zip(SIGNALS, before, strict=True))
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_ignored_signal_stays_ignored():
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalHandler() as handler:
            os.kill(os.getpid(), signal.SIGHUP)
            assert handler.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_is_passed_on_except_what_a_terminal_sends_to_all():
    passed = []
    with SignalHandler() as handler:
        handler.waits, handler.pass_on = True, passed.append
        os.kill(os.getpid(), signal.SIGTERM)
    with handler:
        os.kill(os.getpid(), signal.SIGINT)
    assert passed == [signal.SIGTERM]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_second_sigint_ends_the_process():
    process = os.fork()
    if not process:
        with SignalHandler() as handler:
            handler.waits = True
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
                os.kill(os.getpid(), number)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGINT
