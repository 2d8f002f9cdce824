"""How many images a second a model takes."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from set_aggregation.inference.classifier import ImageClassifier
from set_aggregation.runs.environment import processor

_BATCHES = (1, 32)
_REPEATS, _SECONDS = 20, 0.5


@torch.no_grad()
def images_per_second(program: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """The median over up to 20 runs in half a second, after one that is not counted.

    Args:
        program: takes the images.
        images: a batch.
    """
    program(images)
    seconds: list[float] = []
    while len(seconds) < _REPEATS and (not seconds or sum(seconds) < _SECONDS):
        start = time.perf_counter()
        program(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds)


def speed_rows(model: ImageClassifier, program: Callable[[Tensor], Tensor], runner: str) -> dict[str, str]:
    """The rows of a card that say how fast a program is on this machine's CPU.

    Args:
        model: says which images.
        program: takes them as bytes.
        runner: what runs it.
    """
    height, width = model.example_size
    threads = torch.get_num_threads()
    where = f"{runner}, {processor()}, {threads} thread{'s' if threads > 1 else ''}"
    rows = {}
    for num in _BATCHES:
        images = torch.randint(256, (num, model.in_channels, height, width), dtype=torch.uint8)
        speed = images_per_second(program, images)
        rows[f"speed, batches of {num}, {height}x{width}"] = f"{speed:,.0f} images/s ({where})"
    return rows
