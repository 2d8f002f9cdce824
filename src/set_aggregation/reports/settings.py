"""Settings that can change a result: runs with equal ones may be averaged, and different ones label the runs."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from set_aggregation.runs.settings import IRRELEVANT, changed
from set_aggregation.runs.settings import settings_of as json_settings

Settings = Mapping[str, str]

IGNORED = ("seed_everything", *IRRELEVANT)  # runs that differ in the seed are averaged
WIDTH_KEYS = ("model.hidden_features", "model.aggregator.init_args.out_features")  # the first that is not null
_NULL = "null"  # value of a missing setting: versions of the project have different settings


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that can change a result, as JSON by their dotted names.

    The value of the width is replaced by a word: runs of several widths are one row.

    Example:
        >>> settings_of({"run": {"root": "logs"}, "model": {"hidden_features": 128, "dropout": 0.0}})
        {'model.hidden_features': '"width"', 'model.dropout': '0'}
    """
    settings = json_settings(config, IGNORED)
    width = next((name for name in WIDTH_KEYS if settings.get(name, _NULL) != _NULL), None)
    return settings if width is None else settings | {width: '"width"'}


def differences(variants: Sequence[Settings]) -> list[tuple[str, ...]]:
    """Return the settings by which each of several runs differs from the others, as short texts; none for a single run.

    Example:
        >>> differences([{"trainer.max_epochs": "15", "model.dropout": "0"}, {"trainer.max_epochs": "40"}])
        [('dropout=0', 'max_epochs=15'), ('dropout=null', 'max_epochs=40')]
    """
    names = sorted({name for settings in variants for name in settings})
    found = [[name for name in names if _differs(name, settings, variants)] for settings in variants]
    used = sorted({name for names in found for name in names})
    labels = [
        tuple(f"{_short(name, used)}={_plain(name, settings.get(name, _NULL))}" for name in names)
        for settings, names in zip(variants, found, strict=True)
    ]
    if len(set(labels)) == len(variants):
        return labels
    # Classes of the same name in two packages, or a text that looks like a number.
    return [
        tuple(f"{name}={settings.get(name, _NULL)}" for name in names)
        for settings, names in zip(variants, found, strict=True)
    ]


def same(one: Settings, other: Settings) -> bool:
    """Return whether two runs have equal settings."""
    return not changed(one, other)


def _differs(name: str, settings: Settings, variants: Sequence[Settings]) -> bool:
    """Return whether a setting differs among the runs whose classes take it."""
    classes = [f"{name[: found.start()]}.class_path" for found in re.finditer(r"\.init_args\.", name)]
    alike = [each for each in variants if all(each.get(key) == settings.get(key) for key in classes)]
    return len({each.get(name, _NULL) for each in alike}) > 1


def _parts(name: str) -> list[str]:
    return [part for part in name.split(".") if part not in ("init_args", "class_path")]


def _short(name: str, names: Sequence[str]) -> str:
    """Return the shortest suffix of a dotted name that no other name has."""
    parts = _parts(name)
    for num in range(1, len(parts)):
        if sum(_parts(other)[-num:] == parts[-num:] for other in names) == 1:
            return ".".join(parts[-num:])
    return ".".join(parts)


def _plain(name: str, text: str) -> str:
    value = json.loads(text)
    if not isinstance(value, str):
        return text
    return value.rsplit(".", 1)[-1] if name.endswith(".class_path") else value
