"""What the command line can do, said without importing what it needs to do it."""

from jsonargparse import ArgumentParser

from set_aggregation import __version__

DESCRIPTION = "Trains and compares pooling layers."
COMMANDS = {
    "fit": "Trains a model, and tests its best checkpoint at the end.",
    "validate": "Measures a checkpoint on the validation set.",
    "test": "Measures a checkpoint on the test set.",
    "predict": "Prints the class of each of your images.",
    "export": "Writes a trained model as a program that runs without this package.",
}


def parser_of_commands() -> ArgumentParser:
    """The parser of what stands before a command, without the options of the commands.

    The whole parser, which imports PyTorch and Lightning, prints the same help.

    Example:
        >>> parser_of_commands().format_help().splitlines()[2]
        'Trains and compares pooling layers.'
    """
    parser = ArgumentParser(description=DESCRIPTION, version=__version__, allow_abbrev=False)
    # As Lightning says it, in whose parser it cannot be changed.
    parser.add_argument("-c", "--config", action="config", help="Path to a configuration file in json or yaml format.")
    subcommands = parser.add_subcommands()
    for name, does in COMMANDS.items():
        subcommands.add_subcommand(name, ArgumentParser(description=does), help=does)
    return parser
