"""Tries replace_pooling on every architecture of timm and torchvision up to a size, and prints what became of each.

Run by hand, for it takes long: ``python tests/replace_pooling_sweep.py --max_parameters 30 --one_of_each_class``.
"""

import argparse
import fnmatch
import logging
import sys
import time
import warnings
from collections import Counter

import timm
import torch
import torchvision

from set_aggregation import replace_pooling
from set_aggregation.aggregators import SAN


def parameters(make):
    """The number of parameters of a model, in millions, without making them."""
    try:
        with torch.device("meta"):
            model = make()
    except NotImplementedError:  # it computes with what it makes
        model = make()
    return type(model).__name__, sum(parameter.numel() for parameter in model.parameters()) / 1e6


def attempt(model):
    """Replaces the pooling of a model and trains it for a step; gives what does not fit."""
    first = next(parameter for parameter in model.parameters() if parameter.ndim > 1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    classifiers = {id(parameter) for parameter in model.parameters()}
    replace_pooling(model, SAN, out_features=16, num_classes=7)
    left = {id(parameter) for parameter in model.parameters()}
    size = model.pretrained_cfg["input_size"][1:] if hasattr(model, "pretrained_cfg") else (224, 224)
    logits = model.train()(torch.randn(2, 3, *size))
    assert logits.shape == (2, 7), f"logits of shape {tuple(logits.shape)}"
    logits.square().sum().backward()
    assert first.grad is not None, "no gradient at the first weights"
    (san,) = (module for module in model.modules() if isinstance(module, SAN))
    assert san.projection.weight.grad is not None, "no gradient at the aggregator"
    lost = sorted(names[each] for each in classifiers - left)
    return f"N x {san.in_features}, without {', '.join(lost)}"


def main():
    """Prints a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="names, such as 'resnet*'")
    parser.add_argument("--max_parameters", type=float, default=30, help="in millions")
    parser.add_argument("--one_of_each_class", action="store_true", help="the smallest of each Python class only")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)

    makers = {f"timm/{name}": lambda name=name: timm.create_model(name) for name in timm.list_models()}
    for name in torchvision.models.list_models(module=torchvision.models):
        makers[f"torchvision/{name}"] = lambda name=name: torchvision.models.get_model(name)
    known = {}
    for name, make in makers.items():
        if any(fnmatch.fnmatch(name.split("/")[1], pattern) for pattern in arguments.patterns):
            known[name] = parameters(make)
    chosen = {name: kind for name, kind in known.items() if kind[1] <= arguments.max_parameters}
    if arguments.one_of_each_class:
        smallest = {}
        for name, (cls, millions) in sorted(chosen.items(), key=lambda each: -each[1][1]):
            smallest[name.split("/")[0], cls] = name, (cls, millions)
        chosen = dict(smallest.values())

    verdicts = Counter()
    for name, (cls, millions) in sorted(chosen.items()):
        start = time.perf_counter()
        try:
            verdict, words = "replaced", attempt(makers[name]())
        except ValueError as error:
            verdict, words = "refused", str(error)
        except Exception as error:
            verdict, words = "FAILED", repr(error).splitlines()[0]
        verdicts[verdict] += 1
        print(f"{verdict:8} {name:50} {cls:24} {millions:6.1f} M {time.perf_counter() - start:5.1f} s  {words}")
        sys.stdout.flush()
    print(f"{len(chosen)} of {len(known)} models:", dict(verdicts))


if __name__ == "__main__":
    main()
