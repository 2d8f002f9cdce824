"""W&B sweeps over the runs of a table."""

from itertools import product

import pytest
import yaml

from reproduction.grid import expand, sweep
from reproduction.run_spec import fit_arguments
from set_aggregation.loggers.wandb import PROJECT


def grid(text):
    """Return the arguments of each run of a sweep."""
    parameters = yaml.safe_load(text)["parameters"]
    values = (parameter["values"] for parameter in parameters.values())
    return [dict(zip(parameters, each, strict=True)) for each in product(*values)]


def sort(runs):
    return sorted(runs, key=lambda run: sorted((name, str(value)) for name, value in run.items()))


@pytest.mark.parametrize(
    ("experiment", "choice", "left_out"),
    [
        ("table2", {}, {"flatten"}),
        ("table2", {"aggregators": ["flatten"]}, set()),
        ("table3", {"train_sizes": ["all"]}, set()),
        ("table3", {"train_sizes": ["original"]}, set()),
        ("table4", {"preset": "short"}, {"original"}),
        ("dropout", {"aggregators": ["san"], "data": ["cifar10"]}, set()),
    ],
)
def test_sweep_is_the_runs_of_the_table(experiment, choice, left_out):
    text = sweep(experiment, **choice)
    runs = [fit_arguments(run) for run in expand(experiment, **choice) if run.aggregator not in left_out]
    assert sort(grid(text)) == sort(runs)
    assert left_out == set(text.partition("--aggregators ")[2].partition("\n")[0].split())


def test_sweep_is_for_the_project_and_metric_of_the_runs():
    of_sweep = yaml.safe_load(sweep("table2", seeds=[0]))
    assert of_sweep["project"] == PROJECT
    assert of_sweep["metric"] == {"name": "val/accuracy", "goal": "maximize"}
    assert (of_sweep["program"], of_sweep["method"]) == ("main.py", "grid")
    assert of_sweep["command"][-2:] == ["fit", "${args}"]


def test_runs_that_are_no_product_are_refused():
    with pytest.raises(ValueError, match="no product"):
        sweep("ablations")
