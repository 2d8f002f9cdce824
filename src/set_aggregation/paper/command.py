"""The command line of the paper's experiments."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from set_aggregation.paper.grid import AGGREGATORS, DATA, EXPERIMENTS, Choice, expand
from set_aggregation.paper.places import places
from set_aggregation.paper.presets import PRESETS
from set_aggregation.paper.runner import Runner


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
        return _report(options) if options.command == "report" else _run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _run(options: argparse.Namespace) -> int:
    if not Path("main.py").is_file() or not Path("configs").is_dir():
        raise ValueError("got a folder without main.py and configs/, expected that of the project; cd into it")
    choice = Choice(
        options.data, options.aggregators, options.sizes, options.train_sizes,
        sorted({seed for some in options.seeds or [range(5)] for seed in some}), options.epochs, options.preset,
    )  # fmt: skip
    if options.data_dir is not None:
        os.environ["SAN_DATA_DIR"] = str(options.data_dir.absolute())
    grid = expand(options.experiment, choice)
    file = options.results / f"{options.experiment}.jsonl"
    return Runner(file, options.runs, places(options.jobs), options.keep_checkpoints).run(grid)


def _report(options: argparse.Namespace) -> int:
    from set_aggregation.paper.report import write_report

    print(f"wrote {write_report(options.results)}")  # noqa: T201
    return 0


def _parser() -> _Parser:
    parser = _Parser("python -m set_aggregation.paper", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="makes the runs of a table or a figure that are not there yet")
    run.add_argument("experiment", choices=EXPERIMENTS)
    run.add_argument("--data", nargs="+", choices=DATA, help="by default those of the paper")
    run.add_argument("--aggregators", nargs="+", choices=AGGREGATORS, help="by default those of the paper")
    run.add_argument("--sizes", nargs="+", type=_positive, help="by default those of the paper")
    run.add_argument("--train_sizes", nargs="+", choices=("all", "original"), help="of Table 3; by default both")
    run.add_argument("--seeds", nargs="+", type=_seeds, action="extend", help="such as 0-4, the default, or 0 2 3")
    run.add_argument("--epochs", type=_positive, help="by default those of the experiment")
    run.add_argument("--preset", choices=PRESETS, default="paper")
    run.add_argument("--jobs", type=_positive, help="runs at one time; by default one an accelerator, or one")
    run.add_argument("--data_dir", type=Path, help="folder of the data sets; by default $SAN_DATA_DIR, else data")
    run.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    run.add_argument("--runs", type=Path, default=Path("lightning_logs"), help="folder of the runs")
    run.add_argument("--keep_checkpoints", action="store_true", help="keep those of finished runs")
    report = commands.add_parser("report", help="compares the results to the paper's")
    report.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number of at least 1")
    return int(text)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()) or (last and int(last) < int(first)):
        raise argparse.ArgumentTypeError(f"got {text}, expected a seed such as 3 or several such as 0-4")
    return range(int(first), int(last or first) + 1)
