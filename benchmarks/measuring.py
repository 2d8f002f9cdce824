"""Side-by-side measurement of alternatives, with the hardware and versions.

The speed of a machine changes during a measurement. The alternatives therefore take turns; each round gives a ratio,
and the report has the median and the range of the ratios.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import platform
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import torch

_PACKAGES = ("torch", "lightning", "torchmetrics", "torchvision")
_MAKERS = {"AMD", "Intel", "NVIDIA", "Apple", "GeForce", "Tesla", "Core"}
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def compare(rivals: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time the alternatives in turn, after one warm-up round.

    The order is reversed after each round, so that a drift affects all alike.

    Args:
        rivals: the alternatives by name.
        rounds: number of timed rounds.

    Returns:
        Seconds of each alternative, one number a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    gc.collect()
    gc.freeze()  # the modules and the alternatives themselves are not searched again
    for number in range(rounds + 1):
        for name in names:
            gc.collect()  # otherwise one pays for the garbage of another
            _wait_for_accelerator()
            started = time.perf_counter()
            rivals[name]()
            _wait_for_accelerator()
            if number:
                seconds[name].append(time.perf_counter() - started)
        names.reverse()
    gc.unfreeze()
    return seconds


def speeds(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, list[float]]:
    """Return the speed of each alternative over the reference's, one number a round; above 1 it is faster.

    Args:
        seconds: from :func:`compare`.
        reference: the name of an alternative.
    """
    return {name: [r / s for r, s in zip(seconds[reference], own, strict=True)] for name, own in seconds.items()}


def table(
    seconds: Mapping[str, Sequence[float]],
    reference: str,
    num_items: float | None = None,
    unit: str = "images/s",
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Return a text table, one line an alternative: milliseconds and speed over the reference's, with their range.

    Args:
        seconds: from :func:`compare`.
        reference: the alternative that the others are compared with.
        num_items: items that one call processes; None leaves out the rate.
        unit: unit of the rate.
        columns: further columns by title, each a text by alternative.
    """
    rows = [["", "ms", *([unit] if num_items else []), f"speed / {reference}", *(columns or {})]]
    ratios = speeds(seconds, reference)
    for name, own in seconds.items():
        per_second = [f"{num_items / statistics.median(own):,.0f}"] if num_items else []
        more = [column.get(name, "") for column in (columns or {}).values()]
        rows.append([name, spread([1000 * s for s in own]), *per_second, spread(ratios[name]), *more])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def spread(values: Sequence[float]) -> str:
    """Return median and range with three significant digits.

    Example:
        >>> spread([0.4, 12.3456, 100.2])
        '12.3 (0.4 to 100)'
    """
    middle, low, high = (f"{v:.3g}" if v < 1000 else f"{v:,.0f}" for v in _summary(values))
    return f"{middle} ({low} to {high})"


def peak_memory(prepare: Callable[[], Callable[[], object]]) -> int:
    """Return the peak memory of a call in bytes, on the accelerator if it uses one, else on the host.

    It is measured in a new process, which has no freed memory to reuse.

    Args:
        prepare: called in that process; returns the function to measure. It must be importable: a function of a
            module, or ``functools.partial`` of one.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure_memory, args=(prepare, there))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError as error:
        raise RuntimeError("the process that measures memory failed; its error is printed above") from error
    finally:
        process.join()


def header() -> str:
    """Return command, date, hardware with its matmul rate, and versions."""
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    memory = psutil.virtual_memory().total / 2**30
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return "\n".join(
        (
            f"# {command}   ({date.today()})",
            f"# {hardware()}, {os.cpu_count()} cores, {memory:.0f} GiB, {torch.get_num_threads()} thread(s){load}",
            f"# processor: {processor()}; torch.mm of 1024 x 1024 in float32: {matmul_rate():,.0f} GFLOP/s",
            f"# {', '.join(versions)}",
        )
    )


def hardware() -> str:
    """Return the name of the accelerator or, without one, of the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return processor().partition(" (")[0]


def processor() -> str:
    """Return the name of the processor with its family, its model and the instructions that torch uses."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name, family, model = (
        found[1] if (found := re.search(rf"^{key}\s*: (.+)", info, re.M)) else ""
        for key in ("model name", "cpu family", "model")
    )
    details = f"family {family}, model {model}, " if family else ""
    return f"{name or platform.processor() or platform.machine()} ({details}{torch.backends.cpu.get_cpu_capability()})"


def matmul_rate(size: int = 1024, rounds: int = 5) -> float:
    """Return the median rate of a square float32 product on the CPU in GFLOP/s."""
    a, b = torch.randn(2, size, size)
    seconds = compare({"mm": lambda: torch.mm(a, b)}, rounds)["mm"]
    return 2 * size**3 / statistics.median(seconds) / 1e9


def write(theme: str, text: str, folder: Path = Path(__file__).parent) -> Path:
    """Print a result and write it to ``<theme>_<hardware>_<date>.txt``.

    Args:
        theme: subject of the measurement.
        text: the result, without the header.
        folder: destination.

    Returns:
        The file.
    """
    text = f"{header()}\n{text}\n"
    words = re.sub(r"\(\w+\)", "", hardware()).split()
    name = next((word for word in words if word not in _MAKERS), "machine").lower()
    file = folder / f"{theme}_{name}_{date.today()}.txt"
    file.write_text(text)
    print(text, end="")
    return file


def argument_parser(doc: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks.

    Args:
        doc: docstring of the benchmark.
        rounds: default number of rounds.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"number of timed rounds; {rounds} by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of torch")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="destination of the result")
    return parser


def silence_lightning() -> None:
    """Suppress Lightning's messages about its trainers."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _summary(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _wait_for_accelerator() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _measure_memory(prepare: Callable[[], Callable[[], object]], answer: Connection) -> None:
    call = prepare()
    gc.collect()
    on_gpu = torch.cuda.is_available()
    before_on_gpu = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    # Not resource.getrusage: a child process inherits the peak of its parent.
    _CLEAR.write_text("5")  # reset the peak to the current size
    before = _status("VmRSS")
    call()
    _wait_for_accelerator()
    peak_on_gpu = torch.cuda.max_memory_allocated() - before_on_gpu if on_gpu else 0
    answer.send(peak_on_gpu or _status("VmHWM") - before)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert found
    return int(found.group(1)) * 1024
