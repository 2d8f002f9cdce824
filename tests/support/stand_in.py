"""A project whose main.py trains nothing and takes a moment, and the reproduction's runner in it.

Importing what training needs takes seconds, and these tests are on what the runner does around the runs.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

_ROOT = Path(__file__).parents[2]

# Like training: a checkpoint after each epoch, exit code 75 after a signal, results at the end; two processes never
# write one run at a time. Seeds from 90 on are for failures: 90 exits, 91 ignores signals, 92 leaves no results, 93 is
# slow.
_MAIN = """
import fcntl, json, os, signal, sys, time
from pathlib import Path

given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:])
folder = Path(given["run.root"], given["run.experiment"], given["run.name"])
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
lock = (folder / "config.yaml").open("a+")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    Path(given["run.root"], "two at one run").touch()
    sys.exit("error: another process is writing")
seed, epochs = int(given["seed_everything"]), int(given["trainer.max_epochs"])
print("threads", os.environ["OMP_NUM_THREADS"], flush=True)
if seed == 90:
    print("what went wrong")
    sys.exit("error: got nothing good")
if (folder / "results.json").exists():
    print("has finished; there is nothing left to do")
    sys.exit(0)
lock.truncate(0)
lock.write(json.dumps({"data": {"init_args": {}}}))
lock.flush()
stopped = []
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, _: print(signal.Signals(number).name, flush=True) or stopped.append(number))
last = folder / "checkpoints" / "last.ckpt"
done = int(last.read_text()) if last.exists() else 0
print("starts at", done, flush=True)
while done < epochs:
    time.sleep(0.6 if seed == 93 else 0.03)
    done += 1
    last.with_suffix(".tmp").write_text(str(done))
    os.replace(last.with_suffix(".tmp"), last)
    print(f"epoch {done}/{epochs}  val/accuracy 0.5", flush=True)
    if stopped and seed != 91:
        sys.exit(75)
if seed == 92:
    sys.exit(0)  # as on a full disk
accuracy = {"val/accuracy": 0.5, "test/accuracy": (seed + 1) / 100}
results = {
    "metrics": accuracy, "last": accuracy, "best": {"epoch": 1, "val/accuracy": 0.5}, "curves": [],
    "parameters": {"all": 1}, "seconds": {"all": 0.03 * epochs},
    "environment": {"command": "python main.py fit --run.root=somewhere --width=1", "devices": "none"},
}
(folder / "results.tmp").write_text(json.dumps(results))
os.replace(folder / "results.tmp", folder / "results.json")
"""
# torch, which counts the accelerators, takes seconds too.
_RUNNER = """
import sys, types
sys.modules["torch"] = types.SimpleNamespace(cuda=types.SimpleNamespace(device_count=int))
from reproduction import __main__, runner
runner.Runner.poll = 0.02
sys.exit(__main__.main())
"""


def make_project(folder: Path) -> Path:
    """Make the folder, and return it."""
    (folder / "configs").mkdir(parents=True)
    (folder / "main.py").write_text(_MAIN)
    return folder


def start(project: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start ``python -m reproduction run ARGUMENTS``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SAN_", "OMP_", "MALLOC"))}
    return subprocess.Popen(
        [sys.executable, "-c", _RUNNER, "run", *map(str, arguments)],
        cwd=project,
        env={**environment, "COLUMNS": "200", "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of processes, as a terminal has one for a command
    )


def run(project: Path, *arguments: object) -> tuple[int, str]:
    """Run it to its end; return the exit code and the output."""
    process = start(project, *arguments)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def lines(project: Path) -> list[dict]:
    """Return the lines of results."""
    return [
        json.loads(text) for file in (project / "results").glob("*.jsonl") for text in file.read_text().splitlines()
    ]


def runs(project: Path) -> list[tuple]:
    """Return aggregator, size and seed of each line."""
    settings = [line["settings"] for line in lines(project)]
    return sorted((each["aggregator"], each["size"], each["seed"]) for each in settings)


def log(project: Path, name: str) -> str:
    """Return the log of the run whose folder has this start of a name."""
    (file,) = (project / "lightning_logs" / "paper").glob(f"{name}*.log")
    return file.read_text()


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that a runner has started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(processes: list[psutil.Process]) -> None:
    """Kill the processes that exist, and wait for their end."""
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)
