"""The command that draws the learning curves of many runs, as a figure or a page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from set_aggregation._extras import MissingExtraError, needs
from set_aggregation.reports.comparison import Comparison, compare
from set_aggregation.reports.finished_run import find_runs
from set_aggregation.runs.files import atomic_write

_ENDINGS = (".html", ".pdf", ".png", ".svg")
_DESCRIPTION = """As in the paper's Figures 3 and 4, it has a row for each aggregator, a column for each width, the mean
over seeds and a band from the lowest to the highest of them. Only runs that differ in nothing but the seed are
averaged; others of one aggregator have rows of their own, named by the settings that differ. Runs that are unfinished,
broken or repeated are named and left out."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def run(command: str, description: str, arguments: Sequence[str]) -> int:
    """Read the runs, name those that are skipped, and draw the others."""
    parser = _Parser(
        f"{Path(sys.argv[0]).name} {command}", description=f"{description} {_DESCRIPTION}", allow_abbrev=False
    )
    folders_help = "The folder of a run, or one that holds such at any depth, such as lightning_logs/san_cifar."
    parser.add_argument("folders", metavar="RUN_FOLDER", nargs="+", type=Path, help=folders_help)
    out_help = "A figure (.pdf, .png, .svg) or a page with a table of the runs (.html); may be given several times."
    parser.add_argument("--out", metavar="FILE", action="append", required=True, type=Path, help=out_help)
    options = parser.parse_args(arguments)
    if wrong := next((folder for folder in options.folders if not folder.is_dir()), None):
        parser.error(f"got {wrong}, which is no folder; expected the folder of a run or one that holds such")
    if wrong := next((file for file in options.out if file.suffix.lower() not in _ENDINGS), None):
        parser.error(f"got {wrong}, expected a file that ends in {', '.join(_ENDINGS)}")
    runs, skipped = find_runs(options.folders)
    comparison = compare(runs, skipped)
    for each in comparison.skipped:
        print(f"skipped {each.folder}: {each.reason}", file=sys.stderr)
    try:
        if not runs:
            raise ValueError(f"got no finished run in {', '.join(map(str, options.folders))}, expected at least one")
        for file in options.out:
            with needs("train", "for the learning curves"):
                _write(file, comparison)
            num = comparison.num_runs
            print(f"wrote {file}: {num} run{'s' if num > 1 else ''}, {len(comparison.skipped)} left out")
    except (ValueError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _write(file: Path, comparison: Comparison) -> None:
    """Write a figure or a page atomically."""
    from set_aggregation.reports.comparison_report import comparison_figure, comparison_page
    from set_aggregation.reports.rendering import as_file

    kind = file.suffix.lower()[1:]
    if kind == "html":
        content = comparison_page(comparison, file.parent).encode()
    else:
        content = as_file(lambda: comparison_figure(comparison), kind)
    try:
        with atomic_write(file) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ValueError(f"got --out {file}, which cannot be written ({error.strerror}); give another file") from error
