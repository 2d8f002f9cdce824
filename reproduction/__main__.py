"""``python -m reproduction``: runs the paper's experiments, and reports on them."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, or says what it needs.

    Args:
        arguments: in place of those of the process.

    Returns:
        The exit code: 0, 1 where something failed, 75 where it was interrupted and goes on by the same command.
    """
    try:
        from reproduction.command import run

        return run(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("set_aggregation"):
            raise
        need = "which the paper's experiments need: pip install 'set-aggregation[train]'"
        if error.name == "fcntl":
            need = "which Windows does not have; use Linux, macOS or WSL"
        print(f"error: got no {error.name}, {need}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
