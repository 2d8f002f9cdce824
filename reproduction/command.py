"""The command line of the paper's experiments."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NoReturn

from reproduction.grid import AGGREGATORS, DATA, EXPERIMENTS, Choice, expand
from reproduction.places import places
from reproduction.presets import PRESETS
from reproduction.runner import Runner

_MEASURED = ("theory", "pooling_time")
_DESCRIPTION = """\
Makes the runs that a table or a figure of the paper consists of, as ordinary runs of `main.py fit`, and appends a line
for each to results/. Runs that are there are not made again, and after any interruption the same command goes on."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help shows what there is)\n")


def run(arguments: Sequence[str] | None = None) -> int:
    """Makes the runs of an experiment, or the report.

    Args:
        arguments: in place of those of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == "report":
            return _report(options.results)
        choice = _choice(options)
        if not Path("main.py").is_file() or not Path("configs").is_dir():
            raise ValueError("got a folder without main.py and configs/, expected that of the project; cd into it")
        return _measure(options, choice) if options.experiment in _MEASURED else _train(options, choice)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _choice(options: argparse.Namespace) -> Choice:
    choice = Choice(
        options.data,
        options.aggregators,
        options.sizes,
        options.train_sizes,
        epochs=options.epochs,
        preset=options.preset,
    )
    return replace(choice, seeds=sorted({*chain(*options.seeds)})) if options.seeds else choice


def _train(options: argparse.Namespace, choice: Choice) -> int:
    number, num_shards = options.shard
    grid = expand(options.experiment, choice)[number - 1 :: num_shards]
    if options.data_dir is not None:
        os.environ["SAN_DATA_DIR"] = str(options.data_dir.absolute())
    runner = Runner(_file(options), options.runs, places(options.jobs), options.keep_checkpoints)
    return runner.run(grid)


def _measure(options: argparse.Namespace, choice: Choice) -> int:
    if choice != Choice():
        raise ValueError(f"got options of trainings for {options.experiment}, which trains nothing; leave them out")
    from reproduction.measure import measure

    if options.experiment == "theory":
        from reproduction.theory import measurements
    else:
        from reproduction.step_time import measurements

    def say(words: str) -> None:
        print(words, flush=True)  # noqa: T201

    try:
        measure(measurements(), _file(options), say)
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        return os.EX_TEMPFAIL
    return 0


def _report(results: Path) -> int:
    from reproduction.report import write_report  # matplotlib takes a second

    print(f"wrote {write_report(results)}")  # noqa: T201
    return 0


def _file(options: argparse.Namespace) -> Path:
    folder: Path = options.results
    return folder / f"{options.experiment}.jsonl"


def _parser() -> _Parser:
    parser = _Parser("python -m reproduction", description=_DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    run = commands.add_parser(
        "run", description=_DESCRIPTION, help="make the runs of a table or a figure", allow_abbrev=False
    )
    run.add_argument("experiment", choices=[*EXPERIMENTS, *_MEASURED])
    of_paper = "by default what the paper has"
    run.add_argument("--data", nargs="+", choices=DATA, help=f"{of_paper}; digits needs no download, to try a grid")
    run.add_argument("--aggregators", nargs="+", choices=AGGREGATORS, help=of_paper)
    run.add_argument("--sizes", nargs="+", type=_positive, help=f"inputs of the last dense layer; {of_paper}")
    run.add_argument("--train_sizes", nargs="+", choices=("all", "original"), help="of Table 3; by default both")
    run.add_argument("--seeds", nargs="+", type=_seeds, action="extend", help="such as 0-4, the default, or 0 2 3")
    run.add_argument("--epochs", type=_positive, help="by default 15, of Table 4 200")
    run.add_argument("--preset", choices=PRESETS, default="paper", help="values of what the paper leaves open")
    run.add_argument("--jobs", type=_positive, help="runs at one time; by default one an accelerator, else one")
    run.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="the I-th of N shares of the runs")
    run.add_argument("--data_dir", type=Path, help="folder of the data sets; by default $SAN_DATA_DIR, else data")
    run.add_argument("--runs", type=Path, default=Path("lightning_logs"), help="folder of the runs")
    run.add_argument("--keep_checkpoints", action="store_true", help="keep the checkpoints of runs that have finished")
    report = commands.add_parser("report", help="compare the results to the paper's", allow_abbrev=False)
    for command in (run, report):
        command.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number of at least 1")
    return int(text)


def _seeds(text: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"got {text}, expected a seed such as 3 or several such as 0-4")
    return range(int(first), int(last or first) + 1)


def _shard(text: str) -> tuple[int, int]:
    number, _, num_shards = text.partition("/")
    if not (number.isdecimal() and num_shards.isdecimal() and 1 <= int(number) <= int(num_shards)):
        raise argparse.ArgumentTypeError(f"got {text}, expected a share such as 1/8, the first of eight")
    return int(number), int(num_shards)
