"""Run a command of the training environment, and report errors in one line."""

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only

from set_aggregation.cli.errors import one_line, unwrapped
from set_aggregation.cli.fit import Fit
from set_aggregation.cli.lightning_cli import SetAggregationCLI
from set_aggregation.cli.ranks import disconnect, is_peer_failure
from set_aggregation.cli.silence import silence_libraries
from set_aggregation.runs.signals import EXIT_CODE, Interrupted

# Errors that the user can cause and fix; all others keep their traceback.
_USER_ERRORS = (ArgumentError, ValueError, OSError, FloatingPointError, MisconfigurationException, ModuleNotFoundError)


def run(command: str, description: str, arguments: Sequence[str]) -> int:
    """Run a command; print an error that the user can fix on one line, with its traceback if ``--debug`` is given."""
    options = [word for word in arguments if word != "--debug"]
    is_debugging = len(options) < len(arguments)
    silence_libraries()
    exit_code, all_are_done = 0, True
    try:
        if command in ("export", "predict"):
            _use_model(command, description, options)
        else:
            (Fit if command == "fit" else SetAggregationCLI)(command, description, options).run()
    except Interrupted as stop:
        all_are_done = stop.is_agreed
        # On an exit code other than 0 Lightning would end the first rank at once, if it started this one.
        exit_code = 0 if getattr(rank_zero_only, "rank", 0) > 0 else EXIT_CODE if stop.is_agreed else 1
    except RuntimeError as error:
        if is_debugging or not is_peer_failure(error):
            raise
        print("error: another rank has ended; its message is the reason (--debug shows more)", file=sys.stderr)
        return 1
    except _USER_ERRORS as error:
        if is_debugging:
            raise
        line = str(error) if isinstance(error, ArgumentError) else unwrapped(str(error))
        print(f"error: {line} (--debug shows the traceback)", file=sys.stderr)
        return 2 if isinstance(error, ArgumentError) else getattr(error, "exit_code", 1)
    if all_are_done:
        disconnect()
    return exit_code


def _use_model(command: str, description: str, arguments: Sequence[str]) -> None:
    """Call the function of a command that needs a trained model only."""
    from set_aggregation.inference.export import export
    from set_aggregation.inference.predict import predict

    function = export if command == "export" else predict
    parser = ArgumentParser(
        f"{Path(sys.argv[0]).name} {command}", description=description, exit_on_error=False, allow_abbrev=False
    )
    parser.add_function_arguments(function, as_group=False, skip={"images"})
    if command == "predict":
        parser.add_argument("--images", type=Path, nargs="+", required=True, help="Image files and folders of them.")
        parser.add_argument("--config", help="Ignored: the checkpoint has the configuration.")
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        raise ArgumentError(None, one_line(str(error), arguments, parser)) from error
    options.pop("config", None)
    function(**options.as_dict())
