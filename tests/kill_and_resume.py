"""Kills trainings at any moment, goes on with them, and compares what they end with to an uninterrupted run.

    python -m tests.kill_and_resume --cases 100 --settings one_size several_sizes_2_ranks

Importing everything takes seconds, so one process imports it all and forks a child for each try (each rank), which
runs the command line in the folder of the case. Half of the kills come at a random time, half at a random call of a
random place in the program: before it, after it, or in the middle of what it writes. Most kill all ranks, some kill
one; the others must then end by themselves within ``PATIENCE`` seconds, or, where they wait for a rank that never
came, are ended as torchrun would end them.
"""

import argparse
import contextlib
import csv
import gc
import io
import json
import logging
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)  # a process with threads cannot be forked

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0  # seconds that a rank may take to notice that another one has gone
_LIMIT = 120.0  # seconds of a whole try
_NAME = "run"
_SHORT = (
    *("--trainer.max_epochs=3", "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false"),
    *("--trainer.accelerator=cpu", "--trainer.enable_model_summary=false", "--model.aggregator.out_features=6"),
    *("--model.dropout=0.3", "--data.augment=true", "--data.mix=both", "--data.val_size=20", "--data.batch_size=8"),
    *("--trainer.limit_test_batches=2", "--curves.every_n_epochs=1", "--curves.num_images=16"),
)
_ONE_SIZE = ("--config", str(ROOT / "configs" / "san_digits.yaml"), *_SHORT, "--data.num_train=61")
_SEVERAL_SIZES = (
    *("--config", str(ROOT / "configs" / "san_digits_multires.yaml"), *_SHORT, "--data.num_train=63"),
    *("--data.resample=true", "--data.sizes=[8, 12, 16]"),
)
_BY_STEP = (
    *("--model.scheduler=StepLR", "--model.scheduler.step_size=2", "--model.scheduler.gamma=0.9"),
    "--model.scheduler_interval=step",
)
_BY_EPOCH = ("--model.scheduler=CosineAnnealingLR", "--model.scheduler.T_max=3")
_PLATEAU = (
    *(
        "--model.scheduler=lightning.pytorch.cli.ReduceLROnPlateau",
        "--model.scheduler.monitor=val/loss",
        "--model.scheduler.patience=0",
    ),
    *("--model.scheduler.threshold=0.5", "--trainer.max_epochs=4"),
)
_THREE = ("--trainer.accumulate_grad_batches=3",)


class Setting(NamedTuple):
    """What is trained."""

    arguments: tuple[str, ...]
    ranks: int = 1


SETTINGS = {
    "one_size": Setting((*_ONE_SIZE, *_BY_STEP, "--recovery.every_n_steps=1")),
    "one_size_accumulated": Setting((*_ONE_SIZE, *_THREE, *_BY_EPOCH, "--recovery.every_n_steps=2")),
    "several_sizes": Setting((*_SEVERAL_SIZES, *_BY_EPOCH, "--recovery.every_n_steps=3")),
    "several_sizes_accumulated": Setting((*_SEVERAL_SIZES, *_THREE, *_BY_STEP, "--recovery.every_n_steps=1")),
    "validation_in_mid_epoch": Setting(
        (*_ONE_SIZE, *_BY_STEP, "--trainer.val_check_interval=3", "--recovery.every_n_steps=3")
    ),
    "validation_across_epochs": Setting(
        (
            *_SEVERAL_SIZES,
            *_PLATEAU,
            "--trainer.val_check_interval=5",
            "--trainer.check_val_every_n_epoch=null",
            "--recovery.every_n_steps=1",
        )
    ),
    "plateau": Setting((*_ONE_SIZE, *_PLATEAU, "--recovery.every_n_steps=7")),
    "one_size_2_ranks": Setting((*_ONE_SIZE, *_BY_EPOCH, "--recovery.every_n_steps=1"), 2),
    "one_size_accumulated_2_ranks": Setting((*_ONE_SIZE, *_THREE, *_BY_STEP, "--recovery.every_n_steps=1"), 2),
    "several_sizes_2_ranks": Setting((*_SEVERAL_SIZES, *_BY_STEP, "--recovery.every_n_steps=2"), 2),
    "several_sizes_accumulated_2_ranks": Setting((*_SEVERAL_SIZES, *_THREE, "--recovery.every_n_steps=1"), 2),
}


class Kill(NamedTuple):
    """Where a process kills itself."""

    place: str
    call: int  # of that place, from 1
    when: str  # "before", "after", or "within" what it writes


class Baseline(NamedTuple):
    """An uninterrupted run."""

    folder: Path
    seconds: float
    calls: list[Counter[str]]  # of each place, of each rank


class Case(NamedTuple):
    """How a case went."""

    kills: int
    differences: list[str]
    alone: int  # ranks that ended by themselves after another one was killed


def prepare() -> None:
    """Imports what a training needs, so that forks find it there."""
    import matplotlib.figure  # noqa: F401
    from sklearn.datasets import load_digits

    import set_aggregation.cli.fit
    import set_aggregation.reports.curves
    import set_aggregation.reports.run_report  # noqa: F401

    load_digits()


def places() -> dict[str, tuple[Any, str]]:
    """The calls before, after or within which a process may be killed."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    from set_aggregation.callbacks import LearningCurves, Recovery
    from set_aggregation.cli.fit import Fit
    from set_aggregation.loggers.csv import MetricsFile
    from set_aggregation.models.classifier import SetClassifier
    from set_aggregation.runs.directory import RunDirectory

    return {
        "os.replace": (os, "replace"),
        "os.fsync": (os, "fsync"),
        "torch.save": (torch, "save"),
        "csv.DictWriter.writerows": (csv.DictWriter, "writerows"),
        "Path.write_text": (Path, "write_text"),
        "Path.mkdir": (Path, "mkdir"),
        "RunDirectory.create": (RunDirectory, "create"),
        "Fit._prepare": (Fit, "_prepare"),
        "SetClassifier.training_step": (SetClassifier, "training_step"),
        "SetClassifier.validation_step": (SetClassifier, "validation_step"),
        "SetClassifier.test_step": (SetClassifier, "test_step"),
        "optimizer step": (torch.optim.Adam, "step"),
        "Recovery.on_train_epoch_start": (Recovery, "on_train_epoch_start"),
        "Recovery.on_train_batch_start": (Recovery, "on_train_batch_start"),
        "Recovery.on_train_batch_end": (Recovery, "on_train_batch_end"),
        "Recovery.on_validation_end": (Recovery, "on_validation_end"),
        "Recovery.on_train_end": (Recovery, "on_train_end"),
        "ModelCheckpoint.on_validation_end": (ModelCheckpoint, "on_validation_end"),
        "LearningCurves.on_train_epoch_end": (LearningCurves, "on_train_epoch_end"),
        "LearningCurves.on_fit_end": (LearningCurves, "on_fit_end"),
        "MetricsFile.save": (MetricsFile, "save"),
        "MetricsFile.load_state_dict": (MetricsFile, "load_state_dict"),
        "end_run": (sys.modules["set_aggregation.cli.fit"], "end_run"),
    }


def start_rank(
    folder: Path,
    arguments: Sequence[str],
    rank: int = 0,
    ranks: int = 1,
    port: int = 0,
    before: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
) -> int:
    """Forks a process that does what ``python main.py fit ARGUMENTS`` does in a folder.

    Args:
        folder: where to; what it prints goes into a file beside it.
        arguments: of the command line.
        rank: number of the process, of so many ranks.
        ranks: number of processes, that are started as torchrun starts them.
        port: where the first of several ranks listens.
        before: called in the process before the command line.
        after: and after it.

    Returns:
        The number of the process.
    """
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setsid()
        log = os.open(folder.with_name(f"{folder.name}.rank{rank}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        for name in [name for name in os.environ if name.startswith(("WANDB_", "SAN_", "PL_", "SLURM_"))]:
            del os.environ[name]
        if ranks > 1:
            numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
            numbers |= {"GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1, "MASTER_PORT": port, "TORCHELASTIC_RESTART_COUNT": 0}
            os.environ.update({name: str(number) for name, number in numbers.items()})
            os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="none", GLOO_SOCKET_IFNAME="lo")
        sys.argv = ["main.py", "fit", *arguments]
        code = _main(before, after)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _main(before: Callable[[], None], after: Callable[[], None]) -> int:
    import jaxtyping

    from set_aggregation.cli import main

    jaxtyping.config.update("jaxtyping_disable", True)  # as people have it
    warnings.resetwarnings()  # tests make errors of them, or collect them
    warnings.showwarning = lambda *about: sys.stderr.write(warnings.formatwarning(*about[:4]))
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers = [logging.StreamHandler(sys.stderr)]
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    if "RANK" in os.environ:  # Lightning reads it when it is imported
        rank_zero_only.rank = int(os.environ["RANK"])
    before()
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        after()
    return 0


def count_calls(counts: Counter[str]) -> None:
    """Lets each place count its calls."""
    for name, (owner, attribute) in places().items():
        original = getattr(owner, attribute)

        def counted(*args: Any, _original: Any = original, _name: str = name, **kwargs: Any) -> Any:
            counts[_name] += 1
            return _original(*args, **kwargs)

        setattr(owner, attribute, counted)


def arm(kill: Kill) -> None:
    """Lets a place kill this process."""
    owner, attribute = places()[kill.place]
    original, calls = getattr(owner, attribute), 0

    def armed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != kill.call:
            return original(*args, **kwargs)
        if kill.when == "within":
            _write_half(kill.place, *args)
        elif kill.when == "after":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("alive")

    setattr(owner, attribute, armed)


def _write_half(place: str, *args: Any) -> None:
    """Writes the first half of what a place writes, as far as it writes by itself."""
    if place == "Path.write_text":
        path, text = args
        path.open("w").write(text[: len(text) // 2])
    elif place == "csv.DictWriter.writerows":
        rows = io.StringIO()
        writer, values = args
        csv.DictWriter(rows, writer.fieldnames).writer.writerows(map(writer._dict_to_list, values))
        # A writer does not give its file away.
        half = rows.getvalue()[: len(rows.getvalue()) // 2]
        file = next(file for file in _open_files() if str(file.name).endswith(("metrics.csv", ".metrics.csv.tmp")))
        file.write(half)
        file.flush()
    elif place == "torch.save":
        content = io.BytesIO()
        torch.serialization.save(args[0], content)
        args[1].write(content.getvalue()[: content.tell() // 2])
        args[1].flush()


def _open_files() -> Iterator[Any]:
    return (each for each in gc.get_objects() if isinstance(each, io.TextIOWrapper) and not each.closed)


def try_once(
    folder: Path,
    setting: Setting,
    kills: dict[int, Kill] | None = None,
    at: dict[int, float] | None = None,
    first: Callable[[int], None] = lambda rank: None,
) -> tuple[list[int], int]:
    """Runs the command until it has ended.

    Args:
        folder: of the case.
        setting: what is trained.
        kills: where a rank kills itself.
        at: after how many seconds a rank is killed.
        first: called in each process with its rank, before the command line.

    Returns:
        How each rank ended, a code or minus a signal, and how many ended by themselves because another was killed.

    Raises:
        TimeoutError: a rank did not end.
    """
    kills, at = kills or {}, at or {}
    port = _free_port()
    for file in folder.parent.glob(f"{folder.name}.rank*.joined"):
        file.unlink()

    def before(rank: int) -> None:
        if setting.ranks > 1:
            _note_when_joined(folder.with_name(f"{folder.name}.rank{rank}.joined"))
        if rank in kills:
            arm(kills[rank])
        first(rank)

    arguments = (*setting.arguments, *_run_arguments(setting))
    ranks = range(setting.ranks)
    processes = [start_rank(folder, arguments, r, setting.ranks, port, before=lambda r=r: before(r)) for r in ranks]
    started, first_kill = time.monotonic(), None
    codes: dict[int, int] = {}
    alone: set[int] = set()
    try:
        while len(codes) < setting.ranks:
            now = time.monotonic()
            for rank in ranks:
                if rank in at and rank not in codes and now - started > at[rank]:
                    os.kill(processes[rank], signal.SIGKILL)
            for rank in ranks:
                if rank not in codes and (ended := os.waitpid(processes[rank], os.WNOHANG))[0]:
                    codes[rank] = os.waitstatus_to_exitcode(ended[1])
                    if codes[rank] == -signal.SIGKILL:
                        first_kill = first_kill or now
                    elif first_kill is not None:
                        alone.add(rank)
            if first_kill is not None and len(codes) < setting.ranks:
                all_joined = all(folder.with_name(f"{folder.name}.rank{r}.joined").exists() for r in ranks)
                if not all_joined:
                    for rank in set(ranks) - codes.keys():  # as torchrun does
                        os.kill(processes[rank], signal.SIGKILL)
                elif now - first_kill > PATIENCE:
                    raise TimeoutError(f"ranks {set(ranks) - codes.keys()} have not ended {PATIENCE} s after a kill")
            if now - started > _LIMIT:
                raise TimeoutError(f"ranks {set(ranks) - codes.keys()} have not ended within {_LIMIT} s")
            time.sleep(0.002)
    finally:
        for rank in set(ranks) - codes.keys():
            os.kill(processes[rank], signal.SIGKILL)
            os.waitpid(processes[rank], 0)
    return [codes[rank] for rank in ranks], len(alone)


def _run_arguments(setting: Setting) -> tuple[str, ...]:
    logger = ("--trainer.logger", str(ROOT / "configs" / "logger" / "csv.yaml"))
    several = ("--trainer.strategy=ddp", f"--trainer.devices={setting.ranks}") if setting.ranks > 1 else ()
    return (*logger, *several, "--resume=auto", f"--run.name={_NAME}")


def _note_when_joined(file: Path) -> None:
    join = torch.distributed.init_process_group

    def noted(*args: Any, **kwargs: Any) -> None:
        join(*args, **kwargs)
        file.touch()

    torch.distributed.init_process_group = noted


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def run_folder(folder: Path) -> Path:
    """The folder of the one run of a case."""
    (run,) = (folder / "lightning_logs").glob(f"*/{_NAME}")
    return run


def differences(folder: Path, expected: Path) -> list[str]:
    """In what a run differs from an uninterrupted one: checkpoints, metrics, results, configuration, names of files."""
    ours, theirs = run_folder(folder), run_folder(expected)
    content = [
        {name: (run / name).exists() and (run / name).read_bytes() for name in ("metrics.csv", "config.yaml")}
        for run in (ours, theirs)
    ]
    found = [name for name, value in content[1].items() if content[0][name] != value]
    files = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (ours, theirs)]
    found += [f"file {name}" for name in sorted((files[0] ^ files[1]) - {"checkpoints/previous.ckpt"})]
    if found and "file results.json" in found:
        return found
    results = [json.loads((run / "results.json").read_text()) for run in (ours, theirs)]
    for each in results:
        del each["seconds"], each["environment"]
    found += _different(*results, "results.json")
    for name in ("last.ckpt", "best.ckpt"):
        paths = [run / "checkpoints" / name for run in (ours, theirs)]
        if not all(path.exists() for path in paths):
            continue
        states = [torch.load(path, weights_only=True) for path in paths]
        for state, root in zip(states, (folder, expected), strict=True):
            del state["training"]["environment"]  # the commands differ
            recovery = state["callbacks"]["Recovery"]
            del recovery["seconds"]
            if name == "best.ckpt":  # written in the middle of a step, and not to go on from bit for bit
                del recovery["random"]
            keeper = next(value for key, value in state["callbacks"].items() if key.startswith("BestCheckpoint"))
            for key, value in keeper.items():
                if key == "current_score":  # of the best epoch; Lightning neither loads nor reads it
                    keeper[key] = None
                elif isinstance(value, str):
                    keeper[key] = value.replace(str(root.resolve()), "").replace(str(root), "")
            keeper["best_k_models"] = list(keeper["best_k_models"].values())
        found += _different(*states, name)
    return found


def _different(ours: Any, theirs: Any, place: str) -> list[str]:
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        same = ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        return [] if same else [place]
    if type(ours) is not type(theirs):
        return [f"{place}: {ours!r} is not {theirs!r}"]
    if isinstance(ours, dict):
        names = [str(key) for key in ours.keys() ^ theirs.keys()]
        inner = [_different(ours[key], theirs[key], f"{place}[{key}]") for key in ours.keys() & theirs.keys()]
        return [f"{place}[{name}]" for name in names] + [each for some in inner for each in some]
    if isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            return [f"{place}: length {len(ours)} is not {len(theirs)}"]
        inner = [_different(*pair, f"{place}[{n}]") for n, pair in enumerate(zip(ours, theirs, strict=True))]
        return [each for some in inner for each in some]
    return [] if ours == theirs else [f"{place}: {ours!r} is not {theirs!r}"]


def run_to_end(folder: Path, setting: Setting) -> Path:
    """Trains without a kill, in a folder that is there or is made, and gives it.

    Raises:
        RuntimeError: training fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    codes, _ = try_once(folder, setting)
    if any(codes):
        raise RuntimeError(f"an uninterrupted run in {folder} ended with {codes}")
    return folder


def run_uninterrupted(folder: Path, setting: Setting) -> Baseline:
    """Trains once, and once more while the calls of each place are counted; both must give the same.

    Raises:
        RuntimeError: training fails or does not give the same twice.
    """
    started = time.monotonic()
    expected, counted = run_to_end(folder / "expected", setting), folder / "counted"
    seconds = time.monotonic() - started
    counted.mkdir()
    port, processes = _free_port(), []
    for rank in range(setting.ranks):
        counts: Counter[str] = Counter()

        def write(counts: Counter[str] = counts, rank: int = rank) -> None:
            (folder / f"calls{rank}.json").write_text(json.dumps(counts))

        arguments = (*setting.arguments, *_run_arguments(setting))
        processes.append(
            start_rank(
                counted, arguments, rank, setting.ranks, port, lambda counts=counts: count_calls(counts), after=write
            )
        )
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    if any(codes) or (other := differences(counted, expected)):
        raise RuntimeError(f"two uninterrupted runs in {folder} differ: {codes or other}")
    calls = [Counter(json.loads((folder / f"calls{rank}.json").read_text())) for rank in range(setting.ranks)]
    return Baseline(expected, seconds, calls)


def run_case(folder: Path, setting: Setting, baseline: Baseline, seed: int) -> Case:
    """Kills a training one to four times, goes on until it ends by itself, and compares."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    kills = alone = 0
    story = []
    for _ in range(draw.randint(1, 4)):
        ranks = list(range(setting.ranks))
        if draw.random() < 0.5:
            ranks = [draw.choice(ranks)]
        if draw.random() < 0.4:
            moment = draw.uniform(0.05, baseline.seconds * 1.05)
            plan: dict[str, Any] = {"at": dict.fromkeys(ranks, moment)}
        else:
            rank = draw.choice(ranks)
            place = draw.choice([*sorted(baseline.calls[rank]), "MetricsFile.load_state_dict"])
            call = draw.randint(1, max(1, baseline.calls[rank][place]))
            kinds = ["before", "after"]
            if place in ("Path.write_text", "csv.DictWriter.writerows", "torch.save"):
                kinds += ["within"] * 2
            plan = {"kills": {rank: Kill(place, call, draw.choice(kinds))}}
        story.append(plan)
        try:
            codes, by_themselves = try_once(folder, setting, **plan)
        except TimeoutError as error:
            return Case(kills, [f"{error}, {story}"], alone)
        kills += codes.count(-signal.SIGKILL)
        alone += by_themselves
        if -signal.SIGKILL not in codes:
            if any(codes):
                return Case(kills, [f"a try ended with {codes}, {story}"], alone)
            break
    try:
        codes, _ = try_once(folder, setting)
    except TimeoutError as error:
        return Case(kills, [f"{error}, {story}"], alone)
    if any(codes):
        return Case(kills, [f"the last try ended with {codes}, {story}"], alone)
    found = differences(folder, baseline.folder)
    return Case(kills, [*found, str(story)] if found else [], alone)


def main() -> None:
    """Prints a table, and what differs; ends with 1 where anything does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="cases of each setting")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others follow")
    parser.add_argument("--folder", type=Path, help="where to keep the cases that differ; by default a temporary one")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kill_and_resume_"))
    prepare()
    table, failed = [("setting", "cases", "kills", "ended alone", "equal", "seconds")], 0
    for name in options.settings:
        started = time.monotonic()
        shutil.rmtree(folder / name, ignore_errors=True)
        baseline = run_uninterrupted(folder / name, SETTINGS[name])
        cases = []
        for seed in range(options.seed, options.seed + options.cases):
            place = folder / name / f"case{seed}"
            case = run_case(place, SETTINGS[name], baseline, seed)
            cases.append(case)
            if case.differences:
                failed += 1
                print(f"{place} (seed {seed}) differs: {'; '.join(case.differences)}", flush=True)  # noqa: T201
            else:
                shutil.rmtree(place)
        equal = sum(not case.differences for case in cases)
        kills, alone = sum(case.kills for case in cases), sum(case.alone for case in cases)
        table.append((name, *map(str, (len(cases), kills, alone, equal, round(time.monotonic() - started)))))
        print("  ".join(table[-1]), flush=True)  # noqa: T201
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())  # noqa: T201
    if not failed and options.folder is None:
        shutil.rmtree(folder)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
