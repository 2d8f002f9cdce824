"""Bars where there is a terminal, lines where there is none, and the time that is left in both."""

import io

from rich.console import Console

from reproduction.display import Display
from reproduction.settings import Settings
from reproduction.time_left import TimeLeft


def shown(**console):
    out = io.StringIO()
    with Display(Console(file=out, width=120, highlight=False, **console)) as display:
        display.say("begins [a] " + "x" * 150)
        display.show(12, 60, [("cifar10, san", 3, 15)], 3725.0)
        display.show(13, 60, [("cifar10, max", 4, 15)], 3725.0)
    return out.getvalue()


def test_terminal_has_bars_of_the_grid_and_of_each_run():
    out = shown(force_terminal=True)
    last = out[out.rindex("13/60") :]
    assert "runs, about 1 h 02 min left" in last
    assert "cifar10, max" in last
    assert "4/15" in last
    assert "cifar10, san" not in last


def test_file_has_the_lines_alone():
    (line,) = shown(force_terminal=False).splitlines()
    assert line[9:] == "begins [a] " + "x" * 150


SAN, MAX = (Settings("cifar10", aggregator, 1024, seed=0, epochs=10) for aggregator in ("san", "max"))


def test_nothing_is_known_at_first():
    assert TimeLeft(2).estimate([(SAN, 10)]) is None


def test_mean_of_what_was_seen_of_a_kind():
    left = TimeLeft(1)
    left.note(SAN, 10)
    left.note(SAN, 20)
    left.note(MAX, 1)
    assert left.estimate([(SAN, 2), (MAX, 3)]) == 2 * 15 + 3 * 1


def test_another_kind_takes_as_long_as_the_mean_of_kinds():
    left = TimeLeft(2)
    for seconds in (10, 10, 10):
        left.note(SAN, seconds)
    left.note(MAX, 2)
    assert left.estimate([(Settings("cifar10", "avg", 64, seed=1, epochs=10), 4)]) == 4 * 6 / 2
