"""The commands of ``set-aggregation``, each imported on use."""

import argparse
import difflib
import sys
from collections.abc import Sequence

from set_aggregation import __version__

COMMANDS = {
    "fit": "Train a model, then test its best checkpoint.",
    "validate": "Measure a checkpoint on the validation set.",
    "test": "Measure a checkpoint on the test set.",
    "predict": "Print the class of each of your images.",
    "export": "Write a trained model as a program that runs without this package.",
    "curves": "Draw the learning curves of many runs as a figure or a page.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, as ``python main.py``, ``set-aggregation`` and ``python -m set_aggregation`` do.

    Args:
        arguments: the command and its options; those of the process by default.

    Raises:
        SystemExit: the command failed (code 1), got a wrong option (2) or was interrupted (75).

    Example:
        >>> main(["--version"])  # main(["fit", "--config", "configs/san_digits.yaml"]) trains
        Traceback (most recent call last):
        SystemExit: 0
    """
    command, *options = list(sys.argv[1:] if arguments is None else arguments) or [""]
    if command not in COMMANDS:
        _parser().parse_args([command] if command in ("-h", "--help", "--version") else [])
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else "as in: fit --config FILE"
        got = command or "no command"
        print(f"error: got {got}, expected one of {', '.join(COMMANDS)} first; {hint}", file=sys.stderr)
        sys.exit(2)
    try:
        if command == "curves":
            from set_aggregation.cli.curves import run
        else:
            from set_aggregation.cli.run_command import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("set_aggregation"):
            raise
        sys.exit(f"error: got no {error.name}, which {command} needs: pip install 'set-aggregation[train]'")
    if code := run(command, COMMANDS[command], options):
        sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train and compare pooling layers.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", description="COMMAND --help shows its options."
    )
    for name, does in COMMANDS.items():
        commands.add_parser(name, help=does, add_help=False)
    return parser
