"""Measures rivals side by side: in turn, many times, with what they ran on.

A machine grows faster and slower while it measures. So rivals take turns, each round gives a ratio, and what is
reported is the median of these and how far they lie apart.
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
    """Times the rivals in turn, after a round that only warms up.

    The order is turned round after each round, so that what grows while it measures falls on all alike.

    Args:
        rivals: what each of them does.
        rounds: how often each is timed.

    Returns:
        The seconds that each of them took, one number a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for number in range(rounds + 1):
        for name in names:
            gc.collect()  # or one pays for what another has left
            _wait_for_accelerator()
            started = time.perf_counter()
            rivals[name]()
            _wait_for_accelerator()
            if number:
                seconds[name].append(time.perf_counter() - started)
        names.reverse()
    return seconds


def speeds(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, list[float]]:
    """How many times as fast as the reference each rival was, one number a round; above 1 it is faster.

    Args:
        seconds: from :func:`compare`.
        reference: the name of a rival.
    """
    return {name: [r / s for r, s in zip(seconds[reference], own, strict=True)] for name, own in seconds.items()}


def table(
    seconds: Mapping[str, Sequence[float]],
    reference: str,
    num_items: float | None = None,
    unit: str = "images/s",
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Lines of text, one for each rival: median and spread of its milliseconds, and of its speed over the reference's.

    Args:
        seconds: from :func:`compare`.
        reference: the rival that the others are held against.
        num_items: how many things each of them went through in one call; None leaves out how many a second.
        unit: of that.
        columns: more columns; for each its title and what stands there for each rival.
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
    """Median, and smallest to largest, with three digits that count.

    Example:
        >>> spread([0.4, 12.3456, 100.2])
        '12.3 (0.4 to 100)'
    """
    middle, low, high = (f"{v:.3g}" if v < 1000 else f"{v:,.0f}" for v in _summary(values))
    return f"{middle} ({low} to {high})"


def peak_memory(prepare: Callable[[], Callable[[], object]]) -> int:
    """The most bytes that a call takes beyond what was there before it: on the accelerator if it uses one, else of
    this machine's memory.

    It is measured in a new process, in which nobody has left memory that is free to be used again.

    Args:
        prepare: called in that process, gives what is called there and measured. It has to be importable: a function
            of a module, or ``functools.partial`` of one.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure_memory, args=(prepare, there))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError as error:
        raise RuntimeError("the process that measures memory has failed; what it said stands above") from error
    finally:
        process.join()


def header() -> str:
    """The command, the day, the hardware and the versions."""
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
            f"# {', '.join(versions)}",
        )
    )


def hardware() -> str:
    """The accelerator, or else the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def write(theme: str, text: str, folder: Path = Path(__file__).parent) -> Path:
    """Prints a result, and writes it to ``<theme>_<hardware>_<date>.txt``.

    Args:
        theme: what was measured.
        text: the result, without the header.
        folder: where to.

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
    """The options that all have.

    Args:
        doc: the docstring of the benchmark.
        rounds: how often it measures by default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often each is measured; {rounds} by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch on the CPU")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the result is written")
    return parser


def silence_lightning() -> None:
    """Takes what Lightning says of its trainers out of the output."""
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
    # Not resource.getrusage: there, a child begins with the peak of its parent.
    _CLEAR.write_text("5")  # the peak begins anew, at what there is now
    before = _status("VmRSS")
    call()
    _wait_for_accelerator()
    peak_on_gpu = torch.cuda.max_memory_allocated() - before_on_gpu if on_gpu else 0
    answer.send(peak_on_gpu or _status("VmHWM") - before)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert found
    return int(found.group(1)) * 1024
