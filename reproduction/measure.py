"""The experiments that are no trainings of whole networks: measured in this process, one after the other."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from reproduction.results_file import append, read_results
from reproduction.settings import key_of
from set_aggregation.runs.environment import environment_with, processor

Measurements = Iterable[tuple[Mapping[str, Any], Callable[[], Mapping[str, float]]]]


def measure(measurements: Measurements, file: Path, say: Callable[[str], None]) -> None:
    """Measures what is not there yet, and writes a line of results for each.

    Args:
        measurements: settings and what to call for each.
        file: where the lines go, named after the experiment; what stands in any file of its folder is not measured
            again.
        say: is told what has been measured.
    """
    todo = list(measurements)
    there = {key_of(line["settings"]) for line in read_results(file.parent)}
    missing = [(settings, call) for settings, call in todo if key_of(settings) not in there]
    say(f"{len(todo)} measurements, {len(todo) - len(missing)} of them there")
    environment = environment_with(f"cpu, {processor()}, {torch.get_num_threads()} threads")
    environment["command"] = f"python -m reproduction run {file.stem}"  # the same on every machine
    for settings, call in missing:
        started = time.perf_counter()
        line = {
            "settings": settings,
            "measured": call(),
            "seconds": time.perf_counter() - started,
            "finished": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "environment": environment,
        }
        append(file, line)
        say(f"measured {', '.join(f'{name} {value}' for name, value in settings.items())}: {line['measured']}")
