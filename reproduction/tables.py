"""The paper's tables, with the paper's number and ours in each cell."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from reproduction.claims import FOUND, SEVERAL_SIZES, Difference, Judgement, at_sizes, select, t_interval
from reproduction.paper_numbers import DATA, FLATTEN_ROW, NAMES, TABLE2, TABLE2_SIZES, TABLE3, TABLE4
from reproduction.records import ENVIRONMENT

NOT_RUN = "-"
PROJECTIONS = {"san": "SAN", "max": "max of projections", "avg": "mean of projections"}
_DROPPED, _SAN = "flatten, dropout 0.5", f"SAN, {FLATTEN_ROW}"
_TEXTS = {**DATA, "": "one size", "all": "all sizes", "original": "the original size"}


class Table(NamedTuple):
    """A table of texts, and a note on how to read it."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def measured(values: Iterable[float], digits: int = 3, factor: float = 1, sign: str = "") -> str:
    """Return mean, interval and number of the values, such as ``0.710 ± 0.127 (2)``."""
    mean, half_width, number = t_interval(factor * value for value in values)
    if not number:
        return NOT_RUN
    return f"{mean:{sign}.{digits}f}" + (f" ± {half_width:.{digits}f} ({number})" if number > 1 else "")


def verdicts(judged: Sequence[Judgement]) -> Table:
    """Return a row for each claim and number of epochs."""
    rows = []
    for each in judged:
        ours = [_ours(difference) for difference in each.differences if len(difference.values)]
        ours += [f"{difference.name}: not run" for difference in each.differences if difference.values.empty]
        papers = [_in_unit(other.paper, other) for other in each.differences if other.paper is not None]
        texts = _epochs(each.preset, each.epochs), "; ".join(papers) or NOT_RUN, "; ".join(ours)
        rows.append((f"{each.number}. {each.claim}", *texts, str(each.num_runs), each.verdict))
    return Table("Verdicts", "", ("claim", "epochs", "paper", "ours", "runs", "verdict"), rows)


def paper_tables(runs: pd.DataFrame) -> list[Table]:
    """Return those of Tables 2 to 4, dropout and ablations that have runs."""
    small = select(runs, data=list(DATA))
    by_row = small.assign(size=small["size"].mask(small["aggregator"] == "flatten", FLATTEN_ROW))
    resnet = select(runs, backbone="resnet56", data="cifar10")
    flatten = small[small["aggregator"] == "flatten"]
    dropped = select(runs, data=list(DATA), aggregator="flatten", dropout=0.5).assign(aggregator=_DROPPED)
    san = small[(small["aggregator"] == "san") & (small["size"] == FLATTEN_ROW)].assign(aggregator=_SAN)
    dropout = pd.concat([flatten, dropped, san]).groupby(["data", "preset", "epochs"])
    tables = [
        _table(
            "Table 2: test accuracy, images of one size",
            by_row[by_row["size"].isin(TABLE2_SIZES)],
            {"data": "data", "size": "size"},
            ("flatten", "avg", "max", "conv1x1", "san"),
            TABLE2,
        ),
        _table(
            "Table 3: test accuracy, images of several sizes",
            at_sizes(runs),
            {"data": "data", "trained on": "train_sizes", "tested at": "side"},
            ("max", "avg", "san"),
            TABLE3,
            note=f"The layer has size {SEVERAL_SIZES}; the paper does not state its own.",
        ),
        _table(
            "Table 4: test error, ResNet-56 on CIFAR-10",
            resnet.assign(best=1 - resnet["best"]),
            {},
            list(TABLE4),
            {(name,): error for name, error in TABLE4.items()},
            digits=4,
        ),
        _table(
            "Dropout: test accuracy",
            dropout.filter(lambda group: _DROPPED in set(group["aggregator"])),
            {"data": "data"},
            ("flatten", _DROPPED, _SAN),
            None,
            note="The paper gives no numbers.",
        ),
        _ablations(runs),
    ]
    return [table for table in tables if table.rows]


def theory_table(measurements: pd.DataFrame) -> Table:
    """Count the searches that found the set, at the largest M of each number of elements and features."""
    lines = measurements.query("experiment == 'theorem1'")
    lines = lines[lines["size"] == lines.groupby(["elements", "features"])["size"].transform("max")]
    found = (lines["error"] <= FOUND).groupby([lines[name] for name in ("elements", "features", "size", "aggregator")])
    counts = (found.sum().astype(str) + " of " + found.size().astype(str)).unstack()
    rows = [(*(f"{number:g}" for number in key), *texts[[*PROJECTIONS]]) for key, texts in counts.iterrows()]
    remark = measurements.query("experiment == 'remark1'").groupby("p")["difference"].mean()
    first, last = (f"{remark.iloc[end]:.2g} at p = {remark.index[end]:g}" for end in (0, -1))
    note = (
        f"A set counts as found at a mean distance of its points of at most {FOUND}. Remark 1: the mean distance of "
        f"power-mean SAN from max is {first} and {last}."
    )
    header = ("elements N", "features K", "M", *PROJECTIONS.values())
    return Table("Theorem 1: sets found again from their embedding", note, header, rows)


def environments(runs: pd.DataFrame, measurements: pd.DataFrame) -> Table:
    """Describe the machines and versions of the lines."""
    lines = pd.concat([each[[*ENVIRONMENT, "seconds"]] for each in (runs, measurements) if len(each)])
    lines = lines.fillna(NOT_RUN).assign(commit=lambda each: each["commit"].str[:9])
    totals = lines.groupby([*ENVIRONMENT])["seconds"].agg(["size", "sum"])
    rows = [(*key, str(number), f"{seconds / 3600:.1f}") for key, number, seconds in totals.itertuples()]
    return Table("Machines and versions", "", (*ENVIRONMENT, "lines", "hours"), rows)


def _table(
    title: str,
    runs: pd.DataFrame,
    keys: Mapping[str, str],
    names: Sequence[str],
    paper: Mapping[Any, float] | None,
    note: str = "",
    digits: int = 3,
) -> Table:
    """Return a row for each value of the key columns and number of epochs, and a column for each aggregator."""
    runs = runs.assign(other_preset=runs["preset"] != "paper").sort_values("seed")
    rows = []
    for (_, preset, epochs, *key), group in runs.groupby(["other_preset", "preset", "epochs", *keys.values()]):
        cells = []
        for name in names:
            text = measured(group.loc[group["aggregator"] == name, "best"], digits)
            if paper is not None and text != NOT_RUN:
                text = f"{f'{paper[*key, name]:.{digits}f}' if (*key, name) in paper else NOT_RUN} / {text}"
            cells.append(text)
        rows.append((*(_TEXTS.get(each, str(each)) for each in key), _epochs(preset, epochs), *cells))
    return Table(title, note, (*keys, "epochs", *(NAMES.get(name, name) for name in names)), rows)


def _ablations(runs: pd.DataFrame) -> Table:
    """Return the effect of single changes on a network of size 1024 on CIFAR-10, over common seeds."""
    runs = runs.query(
        "preset == 'paper' and backbone == 'small_cnn' and data == 'cifar10' and size == 1024 and dropout == 0"
        " and train_sizes != 'original' and not overrides.str.contains('num_train')"
    )
    is_plain, is_short = runs["overrides"] == "{}", runs["epochs"] == 15
    keys = ["train_sizes", "aggregator", "seed"]
    before = runs[is_plain & is_short].set_index(keys)["score"].rename("before")
    runs = runs[is_plain ^ is_short].join(before, on=keys).eval("effect = score - before").dropna(subset="effect")
    effect = partial(measured, digits=1, factor=100, sign="+")
    texts = runs.pivot_table("effect", ["train_sizes", "epochs", "overrides"], "aggregator", effect)
    texts = texts.reindex(columns=["san", "max", "conv1x1"]).dropna(how="all").astype(object).fillna(NOT_RUN)
    rows = [
        (overrides.strip("{}").replace('"', "") or f"epochs: {epochs}", _TEXTS[train_sizes], *cells)
        for (train_sizes, epochs, overrides), *cells in texts.itertuples()
    ]
    note = (
        "Points of accuracy, less the same network with the preset paper and 15 epochs. An empty cell does not apply."
    )
    header = ("changed to", "images of", "SAN, 1024", "max, 1024", "conv-1x1, 1024")
    return Table("Ablations: what a single change does on CIFAR-10", note, header, rows)


def _ours(difference: Difference) -> str:
    cells, seeds = difference.over_cells, difference.over_seeds
    text = f"{difference.name} {_in_unit(cells.mean, difference)}"
    if cells.number > 1:
        text += f" ± {_in_unit(cells.half_width, difference, sign='')} over {cells.number} cells"
    if seeds.number > 1:
        mean = "" if abs(seeds.mean - cells.mean) < 1e-9 else f"{_in_unit(seeds.mean, difference)} "
        text += f"{',' if cells.number > 1 else ''} {mean}± {_in_unit(seeds.half_width, difference, sign='')}"
        text += f" over {seeds.number} seeds"
    return text


def _in_unit(value: float, difference: Difference, sign: str = "+") -> str:
    factor = 100 if difference.unit == "points" else 1
    return f"{factor * value:{'' if difference.unit == '%' else sign}.1f}"


def _epochs(preset: str, epochs: int) -> str:
    return f"{epochs}, {preset}" if preset not in ("", "paper") else str(epochs or NOT_RUN)
