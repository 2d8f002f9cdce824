import io
import random

import numpy as np
import pytest
import torch

from set_aggregation.runs.random_state import random_state, seed_apart, set_random_state

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def as_it_was():
    state = random_state(CPU)
    yield
    set_random_state(state, CPU)


def draw():
    return [
        *(random.random(), random.gauss(0, 1), random.gauss(0, 1)),
        *(np.random.rand(), np.random.randn(), np.random.randn()),  # noqa: NPY002
        *torch.rand(3).tolist(),
        *torch.randn(3).tolist(),
    ]


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("drawn", [0, 1, 3])
def test_goes_on_after_a_checkpoint(drawn):
    """Whatever was drawn before: a normal number draws two at once and keeps the other."""
    for _ in range(drawn):
        random.gauss(0, 1), np.random.randn(), torch.randn(1)  # noqa: NPY002
    state = through_a_file(random_state(CPU))
    expected = draw()
    draw()
    set_random_state(state, CPU)
    assert draw() == expected


def test_state_is_a_copy():
    state = random_state(CPU)
    expected = draw()
    set_random_state(state, CPU)
    draw()
    set_random_state(state, CPU)
    assert draw() == expected


@pytest.mark.parametrize("number", range(3), ids=["python", "numpy", "torch"])
def test_each_generator_is_set(number):
    def one():
        return (random.random(), np.random.rand(), float(torch.rand(())))[number]  # noqa: NPY002

    state = random_state(CPU)
    expected = one()
    set_random_state(state, CPU)
    assert one() == expected


def test_places_are_apart():
    drawn = []
    for seed in (0, 1):
        for place in [(0,), (1,), (2,), (1, 0), (1, 7), (7, 1)]:
            seed_apart(seed, *place)
            drawn.append(draw())
    for numbers in zip(*drawn, strict=True):
        # NumPy takes a zero at the end for nothing: (1,) and (1, 0) may be one place.
        assert len(set(numbers)) >= len(drawn) - 2


def test_a_place_gives_the_same_again():
    seed_apart(5, 1)
    first = draw()
    seed_apart(5, 1)
    assert draw() == first


def test_accelerator_that_is_not_there_changes_nothing():
    state = {**random_state(CPU), "cuda": torch.zeros(16, dtype=torch.uint8), "mps": torch.zeros(4)}
    expected = draw()
    set_random_state(state, CPU)
    assert draw() == expected
