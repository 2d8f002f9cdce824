"""jsonargparse's messages, as one line that says what was got, what was expected and what to do."""

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping

from jsonargparse import ArgumentParser

_FILLED_IN = ("in_features", "in_channels")  # by the project, not by a person


def one_line(message: str, words: Iterable[str], parser: ArgumentParser, parts: Mapping[str, type]) -> str:
    """Rewrites a message of the argument parser.

    Args:
        message: what jsonargparse said.
        words: the command line, for the files it names.
        parser: the parser of the subcommand, for the options there are.
        parts: base class of each key that takes a class, for the names there are.
    """
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    key = keys[0] if keys else ""
    if unknown := _search(r"(?:unrecognized arguments: --|does not accept option ')([\w.+]+)", message):
        options = [option.lstrip("-") for action in parser._actions for option in action.option_strings]
        return f"got {unknown}, which is not an option{_suggestion(unknown, options)}"
    if key in parts and (name := _search(r"(?:Expected a dot import path string|path format): (\S+)", message)):
        known = sorted(cls.__name__ for cls in _concrete(parts[key]))
        return (
            f"got {key} {name}, expected one of {', '.join(known)}, a class path or a YAML file that is there"
            f"{_suggestion(name, known)}"
        )
    if refused := _search(r"Option '(\w+)' is not accepted", message):
        class_name = _search(r"class_path[=' ]+[\w.]*?(\w+)'", message)
        taken = next((_parameters(cls) for cls in _concrete(parts.get(key, int)) if cls.__name__ == class_name), [])
        expected = f", expected one of {', '.join(taken)}" if taken else ""
        return f"got {key}.{refused}, which {class_name or key} does not take{expected}{_suggestion(refused, taken)}"
    if wrong := re.search(r"Expected an? <class '(\w+)'>.*?(?:Got|Given) value: (\S+)", message, re.DOTALL):
        return f"got {'.'.join(keys)} {wrong[2].rstrip('.')}, expected {wrong[1]}"
    if "Problems parsing config" in message:  # which file it was is not said
        message += f"; look at {' '.join(word for word in words if word.endswith(('.yaml', '.yml', '.json')))}"
    return " ".join(message.split())


def unwrapped(message: str) -> str:
    """What a class said when it was built, without what jsonargparse tried besides, on one line."""
    said = _search(r"Errors:\s+- (.+?)\n\s*- ", message, re.DOTALL)
    return " ".join((said or message).split())


def _search(pattern: str, text: str, flags: int = 0) -> str:
    found = re.search(pattern, text, flags)
    return found.group(1) if found else ""


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _concrete(base: type[object]) -> list[type[object]]:
    """The subclasses that can be instantiated."""
    children: list[type[object]] = base.__subclasses__()
    below = [cls for child in children for cls in (child, *_concrete(child))]
    return [cls for cls in below if not inspect.isabstract(cls)]


def _parameters(cls: type) -> list[str]:
    return [name for name in inspect.signature(cls).parameters if name not in _FILLED_IN]
