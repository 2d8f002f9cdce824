"""What a person sees at the end of training."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table


def print_summary(rows: Mapping[str, str], commands: Mapping[str, str]) -> None:
    """Prints a table of results, then the commands to go on with.

    Args:
        rows: name and value of each result.
        commands: what each command does, and the command; these are not wrapped, so that they can be copied.
    """
    console = Console()
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for purpose, command in commands.items():
        console.print(f"{purpose}:\n  {command}", soft_wrap=True, highlight=False, markup=False)


def duration(seconds: float) -> str:
    """A time as a person says it.

    Example:
        >>> duration(3.14159), duration(75), duration(7384)
        ('3.1 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def relative(path: Path) -> str:
    """A path as short as it can be typed from the working folder."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
