"""A network as plain values, and what is built of them."""

from argparse import ArgumentError
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.backbones import Backbone
from set_aggregation.models.classifier import SetClassifier

_OF_TRAINING = ("optimizer", "scheduler", "scheduler_interval", "initialization", "compile")
# Backbones with weights of others take them from the file, too: nothing is downloaded ...
_OF_DOWNLOADS = {"pretrained": False, "weights": None}
# ... but for these two of torchvision, which compute something else when they are built with weights.
_BUILT_WITH_WEIGHTS = ("googlenet", "inception_v3")
_REFUSED = "got a network that cannot be built here"


def without_training(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network without those that concern its training only.

    Args:
        arguments: those of a :class:`~set_aggregation.models.classifier.SetClassifier`, as a checkpoint has them.

    Example:
        >>> without_training({"num_classes": 10, "compile": True})
        {'num_classes': 10}
    """
    return {name: value for name, value in arguments.items() if name not in (*_OF_TRAINING, "_instantiator")}


def build_network(arguments: Mapping[str, Any]) -> SetClassifier:
    """Builds a network, whose weights come to be replaced: no random number is drawn that others would miss.

    Args:
        arguments: of :func:`without_training`.

    Raises:
        ValueError: they do not make a network here.
    """
    for part, base in (("backbone", Backbone), ("aggregator", Aggregator)):
        _check_classes(arguments.get(part), base)
    backbone = arguments["backbone"]
    init_args = backbone.get("init_args", {})
    if init_args.get("name") not in _BUILT_WITH_WEIGHTS:
        init_args = {**init_args, **{name: value for name, value in _OF_DOWNLOADS.items() if name in init_args}}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SetClassifier, "network", skip=set(_OF_TRAINING))
    try:
        config = parser.parse_object({"network": {**arguments, "backbone": {**backbone, "init_args": init_args}}})
        with torch.random.fork_rng(devices=[]):
            network: SetClassifier = parser.instantiate(config).network
    except ArgumentError as error:
        raise ValueError(f"{_REFUSED}: {' '.join(str(error).split())}") from error
    for module in network.modules():
        if hasattr(module, "implementation"):
            setattr(module, "implementation", "auto")  # noqa: B010 - which was best is a question of the machine
    return network


def _check_classes(part: Any, base: type) -> None:
    """Refuses what is no module: jsonargparse would call any function that stands in place of an aggregator.

    Args:
        part: a class and its arguments, which may be such parts.
        base: what the class must be.
    """
    if not isinstance(part, Mapping) or not isinstance(path := part.get("class_path"), str):
        raise ValueError(f"{_REFUSED}: its {base.__name__} is {part!r}, expected a class_path")
    home, _, name = path.rpartition(".")  # a name alone is that of a subclass, or of nothing
    try:
        named = getattr(import_module(home), name) if home else base
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{_REFUSED}: of {path}, which is not installed") from error
    if not (isinstance(named, type) and issubclass(named, base)):
        raise ValueError(f"{_REFUSED}: {path} is no {base.__name__}")
    for value in part.get("init_args", {}).values():
        if isinstance(value, Mapping) and "class_path" in value:
            _check_classes(value, nn.Module)
