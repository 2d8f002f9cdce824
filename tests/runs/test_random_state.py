import io
import random

import numpy as np
import pytest
import torch

from set_aggregation.runs.random_state import random_state, seed_for, set_random_state

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def restored():
    state = random_state(CPU)
    yield
    set_random_state(state, CPU)


def draw():
    return [
        *(random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()),  # noqa: NPY002
        *torch.rand(3).tolist(),
        *torch.randn(3).tolist(),
    ]


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("drawn", [0, 1])
def test_continues_from_a_checkpoint(drawn):
    """A normal number draws two at once and keeps the second."""
    for _ in range(drawn):
        random.gauss(0, 1), np.random.randn(), torch.randn(1)  # noqa: NPY002
    state = through_a_file(random_state(CPU))
    expected = draw()
    for _ in range(2):
        set_random_state(state, CPU)
        assert draw() == expected


def test_streams_are_independent_and_repeatable():
    numbers = []
    for key in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 7), (7, 1)):
        seed_for(*key)
        numbers.append(draw())
        seed_for(*key)
        assert draw() == numbers[-1]
    assert all(len(set(column)) == len(numbers) for column in zip(*numbers, strict=True))


def test_state_of_a_missing_accelerator_is_ignored():
    state = {**random_state(CPU), "cuda": torch.zeros(16, dtype=torch.uint8), "mps": torch.zeros(4)}
    expected = draw()
    set_random_state(state, CPU)
    assert draw() == expected
