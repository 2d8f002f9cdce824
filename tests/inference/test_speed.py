import pytest
import torch

from set_aggregation.inference import model_card as speed
from tests.support.small_classifier import noise


@pytest.fixture
def takes(monkeypatch):
    """Return a program whose runs take the given times by a fake clock, and a list of its inputs."""
    now, runs = [0.0], []
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])

    def program_of(seconds):
        left = iter(seconds)

        def program(images):
            runs.append(images)
            now[0] += next(left)
            return torch.zeros(len(images), 3)

        return program

    return program_of, runs


def test_the_median_counts_and_the_first_run_does_not(takes):
    program_of, runs = takes
    found = speed.images_per_second(program_of([9, 0.1, 0.2, 0.3]), noise(4, 1, 8, 8))
    assert found == pytest.approx(4 / 0.2)
    assert len(runs) == 4


@pytest.mark.parametrize(("seconds", "num"), [(0.001, 21), (0.4, 3), (7, 2)])
def test_it_ends_after_half_a_second_or_twenty_runs(takes, seconds, num):
    program_of, runs = takes
    assert speed.images_per_second(program_of([seconds] * 50), noise(4, 1, 8, 8)) == pytest.approx(4 / seconds)
    assert len(runs) == num


def test_rows_name_batch_size_and_machine(takes, monkeypatch):
    monkeypatch.setattr(speed, "processor", lambda: "Abacus")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    program_of, runs = takes
    assert speed.speed_rows(program_of([0.01] * 99), (1, 8, 12), "torch 9") == {
        "speed, batches of 1, 8x12": "100 images/s (torch 9, Abacus, 2 threads)",
        "speed, batches of 32, 8x12": "3,200 images/s (torch 9, Abacus, 2 threads)",
    }
    assert {tuple(images.shape) for images in runs} == {(1, 1, 8, 12), (32, 1, 8, 12)}
    assert all(images.dtype == torch.uint8 and len(images.unique()) > 50 for images in runs)
