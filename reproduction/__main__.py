"""``python -m reproduction``: run the paper's experiments, report on them, print them as W&B sweeps."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from set_aggregation._extras import MissingExtraError, needs

_MEASURED = ("theory", "pooling_time")  # experiments that train no network
_CHOICE = ("data", "aggregators", "sizes", "train_sizes", "epochs", "preset")  # and seeds: a part of a grid


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code: 0, 1 if something failed, 75 if interrupted."""
    try:
        with needs("reproduction", "for the reproduction"):
            options = parser().parse_args(arguments)
            if options.command == "report":
                from reproduction.report import write_report

                print("wrote", write_report(options.results))  # noqa: T201
                return 0
            choice = {name: getattr(options, name) for name in _CHOICE} | {"seeds": sorted({*chain(*options.seeds)})}
            if options.command == "run":
                return _run(options, choice)
            from reproduction.grid import sweep

            print(sweep(options.experiment, **choice), end="")  # noqa: T201
            return 0
    except (ValueError, OSError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _run(options: argparse.Namespace, choice: dict[str, Any]) -> int:
    from reproduction import grid, runner

    if not Path("main.py").is_file() or not Path("configs").is_dir():
        raise ValueError("got a working folder without main.py and configs/; change to the project's folder")
    file = options.results / f"{options.experiment}.jsonl"
    if options.experiment in _MEASURED:
        if any({**choice, "preset": choice["preset"] != "paper"}.values()):
            raise ValueError(f"got options of trainings for {file.stem}, which trains nothing; leave them out")
        return _measure(options.experiment, file)
    if options.data_dir is not None:
        os.environ["SAN_DATA_DIR"] = str(options.data_dir.absolute())
    number, num_shards = options.shard
    share = grid.expand(options.experiment, **choice)[number - 1 :: num_shards]
    environments = runner.environments(options.jobs)
    return runner.Runner(file, options.runs, environments, options.keep_checkpoints).run(share)


def _measure(experiment: str, file: Path) -> int:
    import torch

    from reproduction import step_time, theory
    from reproduction.records import measure
    from set_aggregation.runs.environment import environment, processor

    measurements = theory.measurements() if experiment == "theory" else step_time.measurements()
    try:
        measure(measurements, file, environment(f"cpu, {processor()}, {torch.get_num_threads()} threads"))
    except KeyboardInterrupt:
        print("interrupted; the same command resumes")  # noqa: T201
        return os.EX_TEMPFAIL
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from reproduction.grid import AGGREGATORS, DATA, EXPERIMENTS
    from reproduction.run_spec import PRESETS

    top = _Parser("python -m reproduction", description=__doc__, allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, parser_class=_Parser)
    run = commands.add_parser("run", help="make the missing runs of a table or figure", allow_abbrev=False)
    sweep = commands.add_parser("sweep", help="print a table as a W&B sweep", allow_abbrev=False)
    report = commands.add_parser("report", help="write the report", allow_abbrev=False)
    run.add_argument("experiment", choices=[*EXPERIMENTS, *_MEASURED])
    sweep.add_argument("experiment", choices=EXPERIMENTS)
    for command in (run, sweep):
        command.add_argument("--data", nargs="+", choices=DATA, help="by default the paper's; digits to try a grid")
        command.add_argument("--aggregators", nargs="+", choices=AGGREGATORS, help="by default the paper's")
        command.add_argument("--sizes", nargs="+", type=_positive, help="inputs of the last dense layer")
        command.add_argument("--train_sizes", nargs="+", choices=("all", "original"), help="of Table 3; default: both")
        command.add_argument("--seeds", nargs="+", type=_seeds, default=(), help="such as 0-4 (default) or 0 2 3")
        command.add_argument("--epochs", type=_positive, help="default: 15, for Table 4 200")
        command.add_argument("--preset", choices=PRESETS, default="paper", help="values of what the paper leaves open")
    run.add_argument("--jobs", type=_positive, help="runs at a time; default: one an accelerator, or one")
    run.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="the I-th of N shares of the runs")
    run.add_argument("--data_dir", type=Path, help="folder of the data sets; default: $SAN_DATA_DIR, or data")
    run.add_argument("--runs", type=Path, default=Path("lightning_logs"), help="folder of the runs")
    run.add_argument("--keep_checkpoints", action="store_true", help="keep the checkpoints of finished runs")
    for command in (run, report):
        command.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    return top


def _numbers(pattern: str, text: str, expected: str) -> list[int]:
    found = re.fullmatch(pattern, text)
    numbers = [int(number) for number in found.groups() if number] if found else [1, 0]
    if numbers != sorted(numbers):
        raise argparse.ArgumentTypeError(f"got {text}, expected {expected}")
    return numbers


def _positive(text: str) -> int:
    return _numbers("0*([1-9][0-9]*)", text, "a number of at least 1")[0]


def _seeds(text: str) -> range:
    numbers = _numbers("([0-9]+)(?:-([0-9]+))?", text, "a seed such as 3 or several such as 0-4")
    return range(numbers[0], numbers[-1] + 1)


def _shard(text: str) -> tuple[int, int]:
    number, num_shards = _numbers("([1-9][0-9]*)/([0-9]+)", text, "a share such as 1/8, the first of eight")
    return number, num_shards


if __name__ == "__main__":
    sys.exit(main())
