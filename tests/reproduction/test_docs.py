"""docs/paper.md agrees with the code."""

import re
import shlex
from itertools import chain

import pytest

from reproduction.__main__ import parser
from reproduction.claims import at_sizes, epochs_to, judge, select
from reproduction.grid import EXPERIMENTS, expand
from reproduction.paper_numbers import TABLE2, TABLE2_SIZES, TABLE3
from reproduction.records import read
from reproduction.tables import paper_tables
from tests.support.cli_runner import ROOT

PAGE = (ROOT / "docs" / "paper.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
CHOICE = ("data", "aggregators", "sizes", "train_sizes", "seeds", "epochs", "preset")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_taken(command):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "reproduction"]
    options = vars(parser().parse_args([word for word in words[3:] if word not in (">", "sweep.yaml")]))
    if options.get("experiment") in EXPERIMENTS:
        options["seeds"] = [*chain(*options["seeds"])]
        assert expand(options["experiment"], **{name: options[name] for name in CHOICE})


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_number_of_runs(experiment):
    row = next(line for line in PAGE.splitlines() if line.startswith("| `") and f"`{experiment}`" in line)
    assert int(re.search(r"\| (\d+)( each)? \|$", row).group(1)) == len(expand(experiment))


def test_every_experiment_has_a_row():
    table = PAGE[PAGE.index("| `run` |") : PAGE.index("All have seeds")]
    assert set(re.findall(r"`(\w+)`", table)) == {*EXPERIMENTS, "run", "theory", "pooling_time"}


def test_what_was_learned_is_in_the_results():
    results = read(ROOT / "results")
    runs = results.runs.query("preset == 'paper' and epochs == 15")
    by_size = runs.query("backbone == 'small_cnn' and dropout == 0 and overrides == '{}' and train_sizes == ''")
    by_size = by_size.pivot_table(index=["data", "size"], columns="aggregator", values="best")
    cifar, flatten, fashion = (
        by_size.loc["cifar10"].loc[list(TABLE2_SIZES)],
        by_size["flatten"].dropna().groupby("data").first(),
        select(runs, data="fashion_mnist", aggregator="san", size=list(TABLE2_SIZES)),
    )
    several = at_sizes(runs).pivot_table(index=["data", "train_sizes", "side"], columns="aggregator", values="best")
    lead = 100 * (several["san"] - several["avg"])
    epochs = fashion.groupby("size")["curves"].apply(lambda all_: all_.map(lambda each: epochs_to(0.9, each)).mean())
    tables = {table.title.split(":")[0]: table for table in paper_tables(results.runs)}
    effects = {row[0]: [text.split()[0].lstrip("+-") for text in row[2:]] for row in tables["Ablations"].rows}
    time = results.measurements.query("experiment == 'pooling_time' and aggregator == 'san'")["ratio"]
    many_channels = runs[runs["overrides"] == '{"channels": 32}']
    fewer = select(runs, data="cifar10", aggregator="san", size=1024)["parameters"].iloc[0]
    judged = {(each.number, each.epochs): each.differences[0] for each in judge(results.runs, results.measurements)}
    dropout, table4 = judged[5, 15].over_seeds, judged[7, 12].over_seeds
    resnet = results.runs.query("preset == 'short' and backbone == 'resnet56'")
    first_losses = resnet["curves"].map(lambda curves: curves[0]["train_loss"])
    errors, losses = (values.groupby(resnet["aggregator"]).mean() for values in (1 - resnet["best"], first_losses))
    conv1x1 = [100 * (TABLE2["cifar10", size, "conv1x1"] - cifar["conv1x1"][size]) for size in TABLE2_SIZES]
    lower = [
        100 * (TABLE3["cifar10", "all", side, name] - several[name]["cifar10", "all", side])
        for side in (16, 24, 32, 40, 48)
        for name in ("avg", "san")
    ]
    many = at_sizes(results.runs.query("preset == 'paper' and epochs == 40 and aggregator == 'avg'"))
    many = many[many["train_sizes"] == "all"].groupby("side")["best"].mean()
    higher = [100 * (many[side] - TABLE3["cifar10", "all", side, "avg"]) for side in (16, 24, 32, 40, 48)]
    over_max = 100 * (cifar["san"] - cifar["max"])
    assert (lead > 0).all()
    text = " ".join(PAGE.split())
    for fact in (
        f"ahead by {100 * (cifar['san'] - cifar['avg']).mean():.0f} points, averaged over six sizes",
        f"all {len(lead)} cells of Table 3, by up to {lead.max():.0f} points",
        f"On Fashion-MNIST it reaches 90 % after {epochs.min():.0f} to {epochs.max():.0f} epochs",
        f"ahead at all six sizes, by {over_max.min():.0f} to {over_max.max():.0f} points",
        f"has {flatten['cifar10']:.3f} on CIFAR-10 (SAN: {cifar['san'][1024]:.3f} at size 1024, "
        f"{cifar['san'][4096]:.3f} at 4096) and {flatten['fashion_mnist']:.3f} on Fashion-MNIST",
        f"flatten is {100 * dropout.mean:.1f} ± {100 * dropout.half_width:.1f} points ahead of SAN at size 4096",
        f"SAN loses {effects['reduction: mean'][0]} points in 15 epochs",
        f"with ten times the rate it loses {effects['learning_rate: 0.01, reduction: mean'][0]}",
        f"{errors['original']:.3f} with the original network, {errors['avg']:.3f} with average pooling and a hidden "
        f"layer, {errors['san']:.3f} with SAN, {errors['max']:.3f} with max and {errors['conv1x1']:.3f} with conv-1x1",
        f"that of SAN is {-100 * table4.mean:.1f} ± {100 * table4.half_width:.1f} points higher than the original one",
        f"after one epoch is {losses['san']:.0f}, and {losses['avg']:.0f} with average pooling",
        f"add {effects['epochs: 40'][0]} points to SAN at size 1024",
        f"and {effects['epochs: 40'][1]} to max",
        f"without it SAN gains {effects['antialias: false'][0]} points and max {effects['antialias: false'][1]}",
        f"add {effects['normalize: true'][0]} points to SAN and {effects['normalize: true'][1]} to max",
        f"takes {time.min():.1f} to {time.max():.1f} times as long",
        f"On CIFAR-10, conv-1x1 with one channel is {min(conv1x1):.0f} to {max(conv1x1):.0f} points lower",
        f"with them it has {many_channels['best'].mean():.3f} at size 1024 "
        f"(paper: {TABLE2['cifar10', 1024, 'conv1x1']})",
        f"with 1/{many_channels['parameters'].mean() / fewer:.0f} of its parameters behind the backbone",
        f"trained on all image sizes are {min(lower):.0f} to {max(lower):.0f} points lower",
        f"after 40 it is {min(higher):.0f} to {max(higher):.0f} points above the paper",
    ):
        assert fact in text
