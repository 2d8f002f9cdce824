"""``set-aggregation`` and ``python -m set_aggregation``: what main.py does, from any folder."""

import sys


def main() -> None:
    """Runs the command line, or says what it needs."""
    try:
        if sys.argv[1:2] in (["-h"], ["--help"], ["--version"]):  # not what a command needs: that takes seconds
            from set_aggregation.cli.commands import parser_of_commands

            parser_of_commands().parse_args()
        from set_aggregation.cli.main import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("set_aggregation"):
            raise
        sys.exit(f"error: got no {error.name}, which the command line needs: pip install 'set-aggregation[train]'")
    run()


if __name__ == "__main__":
    main()
