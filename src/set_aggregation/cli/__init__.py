"""The command line; ``main(["fit", "--config", FILE])`` runs a command from Python."""

from set_aggregation.cli.main import main as main

__all__ = ["main"]
