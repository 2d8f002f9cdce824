import os
import signal

import pytest

from set_aggregation.runs.signals import Interrupted, Interruption

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_noted_while_somebody_looks(number, capfd):
    with Interruption() as interruption:
        interruption.waits = True
        os.kill(os.getpid(), number)
        assert interruption.signal == number.name
    assert f"{number.name}: training stops when this step is saved" in capfd.readouterr().err


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_ends_at_once_while_nobody_looks(number):
    with pytest.raises(Interrupted, match=f"stopped by {number.name}") as error, Interruption():  # noqa: PT012
        os.kill(os.getpid(), number)
        raise AssertionError("not reached")
    assert error.value.name == number.name


def test_the_first_one_counts():
    with Interruption() as interruption:
        interruption.waits = True
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal == "SIGUSR1"


def test_is_no_exception_that_handlers_of_errors_catch():
    assert not issubclass(Interrupted, Exception)


def test_handlers_of_before_come_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_can_be_entered_again():
    interruption = Interruption()
    with interruption:
        interruption.waits = True
        os.kill(os.getpid(), signal.SIGTERM)
    with interruption:
        assert interruption.signal is None


def test_is_passed_on_but_for_what_a_terminal_gives_to_all():
    passed = []
    with Interruption() as interruption:
        interruption.waits, interruption.pass_on = True, passed.append
        os.kill(os.getpid(), signal.SIGTERM)
    with interruption:
        os.kill(os.getpid(), signal.SIGINT)
    assert passed == [signal.SIGTERM]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("before", [(), (signal.SIGTERM,)], ids=["alone", "after SIGTERM"])
def test_second_sigint_ends_the_process(before):
    process = os.fork()
    if not process:
        with Interruption() as interruption:
            interruption.waits = True
            for number in (*before, signal.SIGINT, signal.SIGINT):
                os.kill(os.getpid(), number)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGINT
