"""Files of a run folder as mappings, and what is said of those that are not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built


class UnusableRunError(ValueError):
    """Says why a folder holds no run that can be drawn."""


def read_mapping(file: Path) -> dict[str, Any]:
    """Reads a file of JSON or YAML.

    Args:
        file: its ending says which of them.

    Raises:
        UnusableRunError: it is not there, cannot be read, or holds something else.
    """
    kind = "JSON" if file.suffix == ".json" else "YAML"
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if kind == "JSON" else yaml.load(text, _YAML)
    except FileNotFoundError as error:
        raise UnusableRunError(f"broken: got no {file.name}, expected one beside its other files") from error
    except OSError as error:
        raise UnusableRunError(f"broken: got {file.name}, which cannot be read ({error.strerror})") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UnusableRunError(f"broken: got {file.name}, which is not {kind} ({short(error)})") from error
    if not isinstance(content, dict):
        raise UnusableRunError(f"broken: got {file.name} with {short(content)}, expected a mapping")
    return content


def part(container: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping inside another; empty where there is none.

    Args:
        container: the outer mapping.
        name: of the inner one.
    """
    value = container.get(name)
    return value if isinstance(value, dict) else {}


def is_number(value: object) -> bool:
    """Whether this is a finite number, which True is not.

    Args:
        value: anything out of a file.
    """
    return type(value) in (int, float) and -1e300 < value < 1e300  # type: ignore[operator]


def short(value: object) -> str:
    """Anything as text on one line.

    Args:
        value: anything.

    Example:
        >>> short("two\\nlines")
        'two lines'
    """
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"
