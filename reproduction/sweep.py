"""A table of the paper as a W&B sweep."""

from math import prod
from typing import Any

import yaml

from reproduction.grid import expand
from reproduction.run_spec import fit_arguments


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
