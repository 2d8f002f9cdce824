"""``python -m set_aggregation.learning_curves``: the learning curves of many runs, as a figure or a page."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, or says what it needs.

    Args:
        arguments: in place of those of the process.

    Returns:
        0, or 1 where nothing was drawn.
    """
    try:
        from set_aggregation.learning_curves.command import run

        return run(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("set_aggregation"):
            raise
        need = "which the learning curves need: pip install 'set-aggregation[train]'"
        print(f"error: got no {error.name}, {need}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
