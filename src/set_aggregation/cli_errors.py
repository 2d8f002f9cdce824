"""jsonargparse's messages, as one line that says what was got, what was expected and what to do."""

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping

from jsonargparse import ArgumentParser


def one_line(message: str, parser: ArgumentParser, parts: Mapping[str, type]) -> str:
    """Rewrites a message of the argument parser.

    Args:
        message: what jsonargparse said.
        parser: the parser of the subcommand, for the options there are.
        parts: base class of each key that takes a class, for the names there are.
    """
    key = _search(r'Parser key "([\w.]+)"', message)
    if unknown := _search(r"unrecognized arguments: --([\w.+]+)", message):
        return f"got --{unknown}, which is not an option{_suggestion(unknown, _options(parser))}"
    if key in parts and (name := _search(r"Expected a dot import path string: (\S+)", message)):
        known = {cls.__name__ for cls in _concrete(parts[key])}
        return (
            f"got {key} {name}, expected one of {', '.join(sorted(known))}, a class path or a YAML file"
            f"{_suggestion(name, known)}"
        )
    if refused := _search(r"Option '(\w+)' is not accepted", message):
        class_name = _search(r"class_path='[\w.]*?(\w+)'", message)
        taken = next((_parameters(cls) for cls in _concrete(parts.get(key, object)) if cls.__name__ == class_name), [])
        expected = f", expected one of {', '.join(taken)}" if taken else ""
        return f"got {key}.{refused}, which {class_name or 'it'} does not take{expected}{_suggestion(refused, taken)}"
    return re.sub(r"\s+", " ", message).strip()


def known_classes(base: type) -> list[str]:
    """Names of the classes that can be instantiated as one."""
    return sorted(cls.__name__ for cls in _concrete(base))


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _options(parser: ArgumentParser) -> list[str]:
    return [option.removeprefix("--") for action in parser._actions for option in action.option_strings]


def _concrete(base: type) -> list[type]:
    if base is object:
        return []
    return [
        cls
        for sub in base.__subclasses__()
        for cls in (sub, *_concrete(sub))
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_")
    ]


def _parameters(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)
