"""jsonargparse's error messages as one line: what it got, what it expected, what to do."""

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping

from jsonargparse import ArgumentParser

from set_aggregation.aggregators import Aggregator
from set_aggregation.backbones import Backbone
from set_aggregation.cli._jsonargparse import option_names
from set_aggregation.data import ImageDataModule

_PARTS = {"model.aggregator": Aggregator, "model.backbone": Backbone, "data": ImageDataModule}
_FILLED_IN = ("in_features", "in_channels")  # by the project


def one_line(message: str, words: Iterable[str], parser: ArgumentParser, parts: Mapping[str, type] = _PARTS) -> str:
    """Return a message of jsonargparse as one line."""
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    key = keys[0] if keys else ""
    if unknown := _search(r"(?:unrecognized arguments: --|does not accept option ')([\w.+]+)", message):
        return f"got {unknown}, which is not an option{_suggestion(unknown, option_names(parser))}"
    name = _search(
        r"(?:a dot import path string|path format|(?:is abstract|to a subclass)(?s:.*)Given value): (\S+)", message
    )
    if key in parts and name:
        known = sorted(cls.__name__ for cls in _concrete(parts[key]))
        is_dataset = key == "data" and "to a subclass" in message
        hint = f"; a data set of torch: --data TorchDataset --data.train {name}" if is_dataset else ""
        return (
            f"got {key} {name}, expected one of {', '.join(known)}, a class path or an existing YAML file"
            f"{_suggestion(name, known) or hint}"
        )
    if refused := _search(r"Option '(\w+)' is not accepted", message):
        class_name = _search(r"class_path[=' ]+[\w.]*?(\w+)'", message)
        if key in parts and class_name == parts[key].__name__:
            return f"got {key}.{refused} before its class; put --config or --{key} before it"
        taken = next((_parameters(cls) for cls in _concrete(parts.get(key, int)) if cls.__name__ == class_name), [])
        expected = f", expected one of {', '.join(taken)}" if taken else ""
        return f"got {key}.{refused}, which {class_name or key} does not take{expected}{_suggestion(refused, taken)}"
    innermost = message[message.rfind("Parser key") :]
    if wrong := re.search(r"\n( +)Subtypes: \[([^\n]+)\]\n.*?\n\1Given value: ([^\n]+)", innermost, re.S):
        return f"got {'.'.join(keys)} {wrong[3]}, expected one of {_plain(wrong[2])}"
    if wrong := re.search(
        r"Expected an? (<class '\w+'>|typing\.\w+\[.*?\]).*?(?:Got|Given) value: (\S+)", innermost, re.S
    ):
        return f"got {'.'.join(keys)} {wrong[2].rstrip('.')}, expected {_plain(wrong[1])}"
    if "Problems parsing config" in message:  # without the name of the file
        message += f"; look at {' '.join(word for word in words if word.endswith(('.yaml', '.yml', '.json')))}"
    return " ".join(message.split())


def unwrapped(message: str) -> str:
    """Return the message of a class or a worker process on one line, without additions of jsonargparse or torch."""
    failed = _search(r"Problem with given class_path '[^']*':\s+(.+?)\n\s*- ", message, re.DOTALL)
    inner = failed or _search(r"Errors:\s+- (.+?)\n\s*- ", message, re.DOTALL)
    if "DataLoader worker process" in message:  # followed by the traceback
        inner = _search(r"\n\w*(?:Error|Exception): (.+)\s*$", message)
    return " ".join((inner or message).split())


def _plain(types: str) -> str:
    """Return types without Python's notation."""
    types = re.sub(r"typing\.Literal\[(.*?)\]", r"\1", re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", types))
    return types.replace("collections.abc.Sequence", "list").replace("NoneType", "null")


def _search(pattern: str, text: str, flags: int = 0) -> str:
    found = re.search(pattern, text, flags)
    return found.group(1) if found else ""


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _concrete(base: type[object]) -> list[type[object]]:
    """Return the subclasses that can be instantiated."""
    children: list[type[object]] = base.__subclasses__()
    below = [cls for child in children for cls in (child, *_concrete(child))]
    return [cls for cls in dict.fromkeys(below) if not inspect.isabstract(cls)]


def _parameters(cls: type) -> list[str]:
    """Return the parameters of a constructor, with those that it passes on as ``**arguments``."""
    names: list[str] = []
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = list(inspect.signature(base).parameters.values())
            names += [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
            if all(each.kind is not each.VAR_KEYWORD for each in parameters):
                break
    return [name for name in dict.fromkeys(names) if name not in _FILLED_IN]
