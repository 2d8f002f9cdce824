"""Speed of a model in images per second."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from set_aggregation.runs.environment import processor

_BATCHES = (1, 32)
_REPEATS, _SECONDS = 20, 0.5


@torch.no_grad()
def images_per_second(program: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Return the median over up to 20 runs in half a second, after one warm-up run."""
    program(images)
    seconds: list[float] = []
    while len(seconds) < _REPEATS and (not seconds or sum(seconds) < _SECONDS):
        start = time.perf_counter()
        program(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds)


def speed_rows(program: Callable[[Tensor], Tensor], shape: tuple[int, int, int], runner: str) -> dict[str, str]:
    """Return rows of a model card with the speed of a program on this machine's CPU."""
    threads = torch.get_num_threads()
    where = f"{runner}, {processor()}, {threads} thread{'s' if threads > 1 else ''}"
    rows = {}
    for num in _BATCHES:
        images = torch.randint(256, (num, *shape), dtype=torch.uint8)
        speed = images_per_second(program, images)
        rows[f"speed, batches of {num}, {shape[1]}x{shape[2]}"] = f"{speed:,.0f} images/s ({where})"
    return rows
