"""Construction of networks from plain values."""

from argparse import ArgumentError
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.backbones import Backbone
from set_aggregation.models import SetClassifier

_OF_TRAINING = {
    *("initialization", "init_from", "loss", "optimizer", "decay_norms_and_biases"),
    *("scheduler", "scheduler_interval", "compile"),
}
# The weights come from the file, also of pretrained backbones: nothing is downloaded, except for two networks of
# torchvision whose computation depends on it.
_OF_DOWNLOADS = {"pretrained": False, "weights": None}
_BUILT_WITH_WEIGHTS = ("googlenet", "inception_v3")
_REFUSED = "got a network that cannot be built here"


def without_training(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a network without those of its training."""
    return {name: value for name, value in arguments.items() if name not in (*_OF_TRAINING, "_instantiator")}


def build_network(arguments: Mapping[str, Any]) -> SetClassifier:
    """Build a network whose weights will be replaced, without changing the random state."""
    for part, base in (("backbone", Backbone), ("aggregator", Aggregator)):
        _check_classes(arguments.get(part), base)
    backbone = arguments["backbone"]
    init_args = backbone.get("init_args", {})
    if init_args.get("name") not in _BUILT_WITH_WEIGHTS:
        init_args = {**init_args, **{name: value for name, value in _OF_DOWNLOADS.items() if name in init_args}}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SetClassifier, "network", skip=_OF_TRAINING)
    try:
        config = parser.parse_object({"network": {**arguments, "backbone": {**backbone, "init_args": init_args}}})
        with torch.random.fork_rng(devices=[]):
            network: SetClassifier = parser.instantiate(config).network
    except ArgumentError as error:
        raise ValueError(f"{_REFUSED}: {' '.join(str(error).split())}") from error
    for module in network.modules():
        if hasattr(module, "implementation"):
            setattr(module, "implementation", "auto")  # noqa: B010 - the best one depends on the machine
    return network


def _check_classes(part: Any, base: type) -> None:
    """Refuse callables that are not modules, which jsonargparse would call as an aggregator."""
    if not isinstance(part, Mapping) or not isinstance(path := part.get("class_path"), str):
        raise ValueError(f"{_REFUSED}: its {base.__name__} is {part!r}, expected a class_path")
    home, _, name = path.rpartition(".")  # jsonargparse looks up a bare name among the subclasses
    try:
        named = getattr(import_module(home), name) if home else base
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{_REFUSED}: {path} is not installed") from error
    if not (isinstance(named, type) and issubclass(named, base)):
        raise ValueError(f"{_REFUSED}: {path} is no {base.__name__}")
    for value in part.get("init_args", {}).values():
        if isinstance(value, Mapping) and "class_path" in value:
            _check_classes(value, nn.Module)
