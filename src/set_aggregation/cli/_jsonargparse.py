"""Private names of jsonargparse and argparse, all of them."""

from jsonargparse import ArgumentParser


def option_names(parser: ArgumentParser) -> list[str]:
    """Return the options of a parser, without dashes."""
    return [option.lstrip("-") for action in parser._actions for option in action.option_strings]
