import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from reproduction.exact_inverse import read_off
from set_aggregation.aggregators import SAN


def sum_of_relus(numbers):
    x = torch.tensor(numbers, dtype=torch.float64)
    return lambda bias: (x + bias).relu().sum()


@given(st.lists(st.integers(-20, 20).map(lambda n: n / 8), max_size=12))
def test_numbers_are_found_exactly_repeated_ones_included(numbers):
    assert read_off(sum_of_relus(numbers), radius=4.0) == pytest.approx(sorted(numbers, reverse=True), abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_random_numbers_are_found_up_to_rounding(seed):
    numbers = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).tolist()
    found = read_off(sum_of_relus(numbers), radius=8.0)
    assert_close(found, sorted(numbers, reverse=True), rtol=0, atol=1e-12)


def test_numbers_out_of_reach_do_no_harm():
    assert read_off(sum_of_relus([5.0, 1.0, 0.5, -2.0, -7.0]), radius=2.0) == [1.0, 0.5]


def test_few_values_of_the_function_are_enough():
    calls = []
    aggregate = sum_of_relus([3.0, 1.0, 1.0, -0.5, -2.5])
    read_off(lambda bias: calls.append(bias) or aggregate(bias), radius=4.0)
    assert len(calls) < 2 * 5


def test_reads_the_set_off_the_biases_of_a_layer():
    torch.manual_seed(0)
    san = SAN(in_features=1, out_features=1).double().requires_grad_(False)
    san.projection.weight.fill_(1)
    x = torch.randn(1, 9, 1, dtype=torch.float64)

    def aggregate(bias):
        return torch.func.functional_call(san, {"projection.bias": bias[None]}, x).sum()

    assert_close(read_off(aggregate, radius=5.0), x.flatten().sort(descending=True).values.tolist(), rtol=0, atol=1e-13)
