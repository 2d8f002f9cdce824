"""All measurements that need a GPU, in one command that runs in parts and resumes.

    python benchmarks/gpu.py --minutes 10

Tests the kernels on the device, measures layer, training loop, precision and compilation, then trains the runs of Table
4, 2 and 3, one seed after the other. Each part is a command. A part that has finished is recorded in ``gpu_parts.json``
and skipped by the next call. Before the time is over, the part in progress receives SIGTERM: trainings save and resume,
a measurement starts again. ``--rehearse`` runs every part at a tiny size, also without a GPU.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
_SECONDS_TO_SAVE = 60.0
_SEEDS = range(5)
_RESUMABLE = 75  # exit code of an interrupted grid: EX_TEMPFAIL


def parts(folder: Path, results: Path, rehearse: bool) -> dict[str, list[str]]:
    """Return the command of each part, in their order.

    Args:
        folder: destination of the tables of the benchmarks.
        results: destination of the result lines of trainings.
        rehearse: tiny sizes, on scikit-learn's digits.
    """
    tiny = ["--rounds", "1"] if rehearse else []
    sizes = ["--sizes", "4,4,8", "--no_memory", "--no_compile"] if rehearse else []
    steps = ["--steps", "1", "--batch_size", "4", *tiny] if rehearse else []
    benchmark = ["--folder", str(folder)]
    layer = ["benchmarks/san_layer.py", *benchmark, *tiny, *sizes, "--dtype"]
    loop = ["benchmarks/training_loop.py", *benchmark, *steps]
    tests = ["-m", "pytest", "-q", "-m", "not nightly", "tests/aggregators/_kernels", *(["--co"] if rehearse else [])]
    measured = {
        "correctness": tests,
        "layer, float32": [*layer, "float32"],
        "layer, bfloat16": [*layer, "bfloat16"],
        "training loop": loop,
        "training loop, bf16-mixed": [*loop, "--set", "trainer.precision=bf16-mixed"],
        "training loop, ResNet-56": [*loop, "--config", "configs/san_resnet56_cifar.yaml"],
    }
    if not rehearse:
        measured["training loop, compiled"] = [*loop, "--set", "model.compile=true"]
    short = ["--data", "digits", "--epochs", "1", "--sizes", "16", "--aggregators", "san"] if rehearse else []
    grids = {
        f"{table}, seed {seed}": [
            *("-m", "reproduction", "run", table, "--results", str(results), "--seeds", str(seed)),
            *(short if table == "table2" else []),
        ]
        for seed in (_SEEDS[:1] if rehearse else _SEEDS)
        for table in (["table2"] if rehearse else ["table4", "table2", "table3"])
    }
    return measured | grids


def run(command: Sequence[str], seconds: float) -> int:
    """Run a part and return its exit code; send SIGTERM if the time is over.

    Args:
        command: the arguments of Python.
        seconds: the time that the part may take, without saving.
    """
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env={**os.environ, "WANDB_MODE": "offline"})
    try:
        return process.wait(max(seconds, 1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return _RESUMABLE


def main() -> int:
    """Run the parts that are not done until the time is over; return 0 if all are done, 75 if some are left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="time limit of this call")
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks", help="destination of the tables")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="destination of the result lines")
    parser.add_argument("--rehearse", action="store_true", help="run every part at a tiny size, also without a GPU")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.rehearse:
        print(
            "error: got no GPU, expected one that torch can use; --rehearse runs every part on the CPU", file=sys.stderr
        )
        return 1
    record = options.folder / "gpu_parts.json"
    done = json.loads(record.read_text()) if record.exists() else {}
    until = time.monotonic() + 60 * options.minutes - _SECONDS_TO_SAVE
    commands = parts(options.folder.absolute(), options.results.absolute(), options.rehearse)
    failed = False
    for name in [name for name in commands if name not in done]:
        if time.monotonic() >= until:
            break
        print(f"== {name}: python {' '.join(commands[name])}", flush=True)
        started = time.monotonic()
        code = run(commands[name], until - started)
        print(f"== {name}: exit code {code} after {time.monotonic() - started:.0f} s", flush=True)
        if code == 0:
            done[name] = {"seconds": round(time.monotonic() - started)}
            record.write_text(json.dumps(done, indent=2) + "\n")
        failed |= code not in (0, _RESUMABLE)
    left = [name for name in commands if name not in done]
    if left:
        print(f"{len(left)} of {len(commands)} parts are left; the same command continues")
    return 1 if failed else _RESUMABLE if left else 0


if __name__ == "__main__":
    sys.exit(main())
