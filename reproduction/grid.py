"""The runs of each table and figure of the paper, as a list or as a W&B sweep."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import yaml

from reproduction.paper_numbers import TABLE2_SIZES
from reproduction.run_spec import OPTIONS, RunSpec, fit_arguments

DATA = ("cifar10", "fashion_mnist", "digits")
_OWN_SIZE = {"flatten": (128,), "original": (64,)}  # as in Table 1; the channels of the feature map
_EPOCHS, _MANY_EPOCHS = 15, 40  # in the README of the authors' code; its default
_SHORT_EPOCHS = 12

# Ablations change one setting of the preset ``paper``. One changes two: the mean of a set is smaller than its sum, so
# the mean is also measured with ten times the learning rate.
ABLATIONS: Sequence[Mapping[str, Any]] = (
    {"reduction": "mean"},
    {"reduction": "mean", "learning_rate": 0.01},
    {"channels": 32},
    {"hidden_activation": "relu"},
    {"positions": "none"},
    {"positions": "trigonometric"},
    {"initialization": "torch"},
    {"split": "official"},
    {"normalize": True},
    {"augment": True},
    {"antialias": False},
)

# Sizes for the comparison of poolings. All aggregators and their dense layers then have about 78,858 parameters, as
# SAN with M = 1024 on the 64 channels of the small network. The size is M if the output size is free, else the number
# of units of a hidden layer.
_FREE_SIZE = {"san": 1024, "power_mean_san": 1024, "deep_sets": 244}
_HIDDEN_UNITS = {
    **dict.fromkeys(("avg", "max", "gem", "log_sum_exp"), 1051),
    **{"attention_pool": 1050, "fs_pool": 1033, "avg_max_pool": 567, "mean_std_pool": 567, "pma": 714},
    "covariance_pool": 38,
}
_HIDDEN_UNITS_FOR_ONE_SIZE = {  # these depend on the number of elements, and take one size of images only
    ("cifar10", "conv1x1"): 1050,
    ("cifar10", "flatten"): 19,
    ("fashion_mnist", "conv1x1"): 1313,
    ("fashion_mnist", "flatten"): 25,
    ("digits", "conv1x1"): 5252,
    ("digits", "flatten"): 295,
}
POOLINGS = tuple(sorted({*_FREE_SIZE, *_HIDDEN_UNITS, "conv1x1", "flatten"}))
_FEW_IMAGES = {"num_train": 10_000, "batch_size": 64}  # fifteen aggregators and several seeds in hours without a GPU
AGGREGATORS = ("flatten", "avg", "max", "conv1x1", "san", "original", *sorted({*POOLINGS} - {*_OWN_SIZE}))


@dataclass(frozen=True)
class Grid:
    """Product of all values of a table or figure; ``vary`` returns the runs of each element."""

    aggregators: Sequence[str]
    data: Sequence[str] = ("cifar10", "fashion_mnist")
    sizes: Sequence[int] = (1024,)  # the paper's; flatten and original have their own
    train_sizes: Sequence[str | None] = (None,)  # None for images of one size
    backbone: str = "small_cnn"
    epochs: int = _EPOCHS
    vary: Callable[[RunSpec], Iterator[RunSpec]] = lambda run: iter((run,))


def expand(
    experiment: str,
    *,
    data: Sequence[str] | None = None,
    aggregators: Sequence[str] | None = None,
    sizes: Sequence[int] | None = None,
    train_sizes: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    epochs: int | None = None,
    preset: str = "paper",
) -> list[RunSpec]:
    """Return the runs of an experiment, each once: all of the first seed, then all of the second, and so on."""
    grid = EXPERIMENTS[experiment]
    known: dict[str, Sequence[str | None]] = {"data": (*grid.data, "digits"), "aggregators": grid.aggregators}
    known["train_sizes"] = grid.train_sizes
    for (name, values), chosen in zip(known.items(), (data, aggregators, train_sizes), strict=True):
        if wrong := next((value for value in chosen or () if value not in values), None):
            expected = ", ".join(value for value in values if value) or "none, since the images have one size"
            raise ValueError(f"got --{name} {wrong} for {experiment}, expected {expected}")
    if preset != "paper" and experiment in ("ablations", "pooling"):
        raise ValueError(f"got --preset {preset} for {experiment}, expected paper; leave it out")
    epochs = epochs or (_SHORT_EPOCHS if preset == "short" else grid.epochs)
    axes = (seeds or range(5), data or grid.data, train_sizes or grid.train_sizes, aggregators or grid.aggregators)
    runs = (
        varied
        for seed, data_set, trained_on, aggregator in product(*axes)
        for size in _OWN_SIZE.get(aggregator, sizes or grid.sizes)
        for varied in grid.vary(RunSpec(data_set, aggregator, size, seed, epochs, preset, grid.backbone, trained_on))
    )
    return list({run.key: run for run in runs}.values())


def sweep(experiment: str, **choice: Any) -> str:
    """Return the YAML of a sweep, a product of values; a comment names the aggregators that do not fit into it."""
    runs = expand(experiment, **choice)
    values: dict[str, dict[str, list[Any]]] = {}
    for run in runs:
        of_aggregator = values.setdefault(run.aggregator, {})
        for name, value in fit_arguments(run).items():
            found = of_aggregator.setdefault(name, [])
            found += [] if value in found else [value]
    alike: dict[str, list[str]] = {}  # aggregators whose runs differ in the model only
    for aggregator, parameters in values.items():
        number = sum(run.aggregator == aggregator for run in runs)
        if prod(map(len, parameters.values())) != number:
            raise ValueError(
                f"got {number} runs of {aggregator}, which are no product; expected a part of {experiment}"
            )
        alike.setdefault(repr({**parameters, "model": None}), []).append(aggregator)
    chosen = max(alike.values(), key=len)
    parameters = {**values[chosen[0]], "model": [model for name in chosen for model in values[name]["model"]]}
    left_out = [name for names in alike.values() for name in names if names != chosen]
    comment = f"# Not part of this sweep: --aggregators {' '.join(left_out)}\n" if left_out else ""
    return comment + yaml.safe_dump(
        {
            "program": "main.py",
            "project": "set-aggregation",  # importing it from the loggers would take ten seconds
            "name": experiment,
            "method": "grid",
            "metric": {"name": "val/accuracy", "goal": "maximize"},
            "command": ["${env}", "${interpreter}", "${program}", "fit", "${args}"],
            "parameters": {name: {"values": each} for name, each in parameters.items()},
        },
        sort_keys=False,
    )


def _with_dropout(run: RunSpec) -> Iterator[RunSpec]:
    yield run
    if run.aggregator == "flatten":
        yield replace(run, dropout=0.5)


def _with_ablations(run: RunSpec) -> Iterator[RunSpec]:
    """Yield the baseline and each change; with several sizes, only the changes that need them."""
    if run.aggregator == "conv1x1":  # measures the number of channels, at one size only
        changes: Sequence[Mapping[str, Any]] = ({}, {"channels": 32}) if run.train_sizes is None else ()
        yield from (replace(run, overrides=dict(overrides)) for overrides in changes)
        return
    yield run
    one_size = replace(run, train_sizes=None)
    if run == one_size and run.epochs == _EPOCHS:
        yield replace(run, epochs=_MANY_EPOCHS)
    for overrides in ABLATIONS:
        applies, applies_to_one_size = (all(OPTIONS[name][1](each) for name in overrides) for each in (run, one_size))
        if applies and (run == one_size or not applies_to_one_size):
            yield replace(run, overrides=dict(overrides))


def _at_equal_parameters(run: RunSpec) -> Iterator[RunSpec]:
    """Yield the run with its size for the comparison of poolings, unless the aggregator cannot take several sizes."""
    for_one_size = _HIDDEN_UNITS_FOR_ONE_SIZE.get((run.data, run.aggregator))
    if run.train_sizes is not None and for_one_size is not None:
        return
    overrides: dict[str, Any] = {} if run.data == "digits" else dict(_FEW_IMAGES)  # digits has fewer images
    free = _FREE_SIZE.get(run.aggregator)
    if free is None:
        overrides["hidden_activation"] = "relu"
    yield replace(run, size=free or for_one_size or _HIDDEN_UNITS[run.aggregator], overrides=overrides)


_TABLE2 = Grid(("flatten", "avg", "max", "conv1x1", "san"), sizes=TABLE2_SIZES)
EXPERIMENTS: Mapping[str, Grid] = {
    "table2": _TABLE2,
    "table3": Grid(("max", "avg", "san"), train_sizes=("all", "original")),
    "table4": Grid(
        ("original", "avg", "max", "conv1x1", "san"), ("cifar10",), (4096,), backbone="resnet56", epochs=200
    ),
    "figure3": replace(_TABLE2, data=("cifar10",)),
    "figure4": replace(_TABLE2, data=("fashion_mnist",)),
    "dropout": Grid(("flatten", "san"), sizes=(4096,), vary=_with_dropout),
    "ablations": Grid(("max", "conv1x1", "san"), ("cifar10",), train_sizes=(None, "all"), vary=_with_ablations),
    "pooling": Grid(POOLINGS, train_sizes=(None, "all"), vary=_at_equal_parameters),
}
