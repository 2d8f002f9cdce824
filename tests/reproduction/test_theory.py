import math

import torch
from torch.testing import assert_close

from reproduction import theory


def test_each_measurement_is_made_once():
    settings = [settings for settings, _ in theory.measurements()]
    assert len({tuple(sorted(each.items())) for each in settings}) == len(settings)
    assert sum(each["experiment"] == "remark1" for each in settings) == 9 * 5
    assert sum(each["experiment"] == "theorem1" for each in settings) == 3 * 2 * 3 * 6 * 5


def test_settings_are_what_identifies_a_measurement():
    names = {each["experiment"]: set(each) - {"experiment"} for each, _ in theory.measurements()}
    assert names == {"remark1": {"p", "seed"}, "theorem1": {"elements", "features", "aggregator", "size", "seed"}}


def test_measurements_measure_what_their_settings_say():
    for settings, measure in theory.measurements():
        if settings == {"experiment": "remark1", "p": 30, "seed": 1}:
            assert measure() == theory.difference_to_max(30.0, seed=1)
        if settings["experiment"] == "theorem1" and settings["size"] == 4 and settings["seed"] == 2:
            assert measure() == theory.recover(4, 2, settings["aggregator"], 4, seed=2)


def test_difference_vanishes_as_the_exponent_grows():
    """Remark 1, with the bound N^(1/p) - 1 on the difference, in parts of the maximum, which is below 6 here."""
    for p in theory.EXPONENTS:
        found = theory.difference_to_max(float(p), seed=0)
        assert 0 < found["difference"] < found["largest"] < 6 * (64 ** (1 / p) - 1)


def test_sum_of_powers_is_that_of_the_remark():
    """At p = 1 the sum of the others is left, and a seed is a set of its own."""
    one, other = (theory.difference_to_max(1.0, seed)["difference"] for seed in (0, 1))
    assert one > 10
    assert not math.isclose(one, other)


def test_random_numbers_of_the_caller_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    theory.difference_to_max(3.0, seed=5)
    assert_close(torch.rand(1), expected)
