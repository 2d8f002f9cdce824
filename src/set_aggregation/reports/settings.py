"""The settings of a run: what says with which other runs it may be averaged, and what tells it from the rest."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from set_aggregation.runs.resume import IRRELEVANT, changed
from set_aggregation.runs.resume import settings_of as json_settings

Settings = Mapping[str, str]

IGNORED = ("seed_everything", *IRRELEVANT)  # runs that differ in the seed are averaged
_WIDTH = ("model.hidden_features", "model.aggregator.init_args.out_features")  # the first that is not null
_NULL = "null"  # a setting that is not there counts as this one, which is what versions of the project differ by


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings that can change a result, as JSON by their dotted names.

    The one that is the width of the run says so in place of its number: runs of several widths are one row.

    Args:
        config: the complete configuration of a run.

    Example:
        >>> settings_of({"run": {"root": "logs"}, "model": {"hidden_features": 128, "dropout": 0.0}})
        {'model.hidden_features': '"width"', 'model.dropout': '0'}
    """
    settings = json_settings(config, IGNORED)
    width = next((name for name in _WIDTH if settings.get(name, _NULL) != _NULL), None)
    return settings if width is None else settings | {width: '"width"'}


def differences(variants: Sequence[Settings]) -> list[tuple[str, ...]]:
    """What tells each of several settings from the others, in as few words as are clear; nothing of a single one.

    Args:
        variants: settings, no two of them equal.

    Example:
        >>> differences([{"trainer.max_epochs": "15", "model.dropout": "0"}, {"trainer.max_epochs": "40"}])
        [('dropout=0', 'max_epochs=15'), ('dropout=null', 'max_epochs=40')]
    """
    names = sorted({name for settings in variants for name in settings})
    told = [[name for name in names if _tells(name, settings, variants)] for settings in variants]
    used = sorted({name for names in told for name in names})
    labels = [
        tuple(f"{_short(name, used)}={_plain(name, settings.get(name, _NULL))}" for name in names)
        for settings, names in zip(variants, told, strict=True)
    ]
    if len(set(labels)) == len(variants):
        return labels
    # Classes of one name in two packages, or a text that looks like a number.
    return [
        tuple(f"{name}={settings.get(name, _NULL)}" for name in names)
        for settings, names in zip(variants, told, strict=True)
    ]


def same(one: Settings, other: Settings) -> bool:
    """Whether two runs were set up alike.

    Args:
        one: settings of a run.
        other: settings of another.
    """
    return not changed(one, other)


def _tells(name: str, settings: Settings, variants: Sequence[Settings]) -> bool:
    """Whether a setting differs among those whose classes take it; arguments of another class say nothing of this."""
    classes = [f"{name[: found.start()]}.class_path" for found in re.finditer(r"\.init_args\.", name)]
    alike = [each for each in variants if all(each.get(key) == settings.get(key) for key in classes)]
    return len({each.get(name, _NULL) for each in alike}) > 1


def _parts(name: str) -> list[str]:
    return [part for part in name.split(".") if part not in ("init_args", "class_path")]


def _short(name: str, names: Sequence[str]) -> str:
    """As many last parts of a dotted name as no other has."""
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
