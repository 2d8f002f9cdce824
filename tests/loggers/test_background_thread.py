import threading
import time

from set_aggregation.loggers.background_thread import BackgroundThread

LONG = 60.0  # seconds; nothing here takes them, where it works


def make(reasons, max_waiting=100):
    return BackgroundThread("test", max_waiting, reasons.append)


def test_calls_in_order_in_another_thread():
    made, thread = [], make([])
    for number in range(50):
        thread.call(lambda number: made.append((number, threading.current_thread().name)), number)
    assert thread.wait(LONG)
    assert made == [(number, "test") for number in range(50)]
    thread.close()


def test_nobody_waits_for_a_call():
    gate, thread = threading.Event(), make([])
    thread.call(gate.wait, LONG)  # hangs until the end of the test
    assert not thread.wait(0.01)
    gate.set()
    assert thread.wait(LONG)
    thread.close()


def test_after_a_failure_nothing_but_what_is_always_called():
    made, reasons = [], []
    thread = make(reasons)
    thread.call(int, "x")
    thread.call(made.append, 1)
    thread.call(made.append, 2, always=True)
    assert thread.wait(LONG)
    thread.call(int, "y", always=True)
    assert thread.wait(LONG)
    assert made == [2]
    assert [str(reason) for reason in reasons] == ["invalid literal for int() with base 10: 'x'"]
    assert thread.failed
    thread.close()


def test_what_ends_other_threads_is_a_failure_too():
    reasons = []
    thread = make(reasons)
    thread.call(exec, "raise SystemExit(3)")
    assert thread.wait(LONG)
    assert [type(reason) for reason in reasons] == [SystemExit]
    thread.close()


def test_too_many_calls_are_a_failure_and_take_no_memory():
    gate, made, reasons = threading.Event(), [], []
    thread = make(reasons, max_waiting=3)
    thread.call(gate.wait, LONG)
    while thread._calls.qsize():  # the thread has yet to take it
        time.sleep(0.001)
    for number in range(100):
        thread.call(made.append, number)
    assert thread._calls.qsize() == 3
    assert [type(reason) for reason in reasons] == [TimeoutError]
    gate.set()
    assert thread.wait(LONG)
    assert made == []
    thread.close()


def test_close_ends_the_thread():
    threads = set(threading.enumerate())
    thread = make([])
    (new,) = set(threading.enumerate()) - threads
    assert new.daemon
    thread.close()
    new.join(LONG)
    assert not new.is_alive()
