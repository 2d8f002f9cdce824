"""The paper's tables, with the paper's number and ours in each cell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from reproduction.claims import SEVERAL_SIZES, Judgement, at_sizes, select
from reproduction.paper_numbers import DATA, FLATTEN_ROW, NAMES, TABLE2, TABLE2_SIZES, TABLE3, TABLE4
from reproduction.statistics import Difference, t_interval

NOT_RUN = "-"
_TEXTS = {**DATA, "": "one size", "all": "all sizes", "original": "the original size"}


class Table(NamedTuple):
    """A table of texts, and a note on how to read it."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def measured(values: Iterable[float], digits: int = 3, factor: float = 1, sign: str = "") -> str:
    """Return mean, interval and number of the values, such as ``0.710 ± 0.127 (2)``."""
    values = [factor * value for value in values]
    if not values:
        return NOT_RUN
    mean, half_width, number = t_interval(values)
    return f"{mean:{sign}.{digits}f}" + (f" ± {half_width:.{digits}f} ({number})" if number > 1 else "")


def verdicts(judged: Sequence[Judgement]) -> Table:
    """Return a row for each claim and number of epochs."""
    rows = []
    for each in judged:
        done = [difference for difference in each.differences if len(difference.values)]
        missing = [difference.name for difference in each.differences if not len(difference.values)]
        ours = [_ours(difference) for difference in done] + [f"{name}: not run" for name in missing]
        papers = [_in_unit(other.paper, other) for other in each.differences if other.paper is not None]
        epochs = _epochs(each.preset, each.epochs) if each.preset else NOT_RUN
        texts = f"{each.number}. {each.claim}", epochs, "; ".join(papers) or NOT_RUN, "; ".join(ours)
        rows.append((*texts, str(each.num_runs), each.verdict))
    return Table("Verdicts", "", ("claim", "epochs", "paper", "ours", "runs", "verdict"), rows)


def paper_tables(runs: pd.DataFrame) -> list[Table]:
    """Return those of Tables 2 to 4, dropout and ablations that have runs."""
    tables = [_table2(runs), _table3(runs), _table4(runs), _dropout(runs), _ablations(runs)]
    return [table for table in tables if table.rows]


def environments(runs: pd.DataFrame, measurements: pd.DataFrame) -> Table:
    """Describe the machines and versions of the lines."""
    names = ["commit", "devices", "system", "versions"]
    columns = [f"environment.{name}" for name in names]
    lines = pd.concat([each.reindex(columns=[*columns, "seconds"]) for each in (runs, measurements) if len(each)])
    lines[columns] = lines[columns].fillna(NOT_RUN)
    lines["environment.commit"] = lines["environment.commit"].str[:9]
    totals = lines.groupby(columns)["seconds"].agg(["size", "sum"]).reset_index()
    rows = [(*map(str, row[:-1]), f"{row[-1] / 3600:.1f}") for row in totals.itertuples(index=False)]
    return Table("Machines and versions", "", (*names, "lines", "hours"), rows)


def _ours(difference: Difference) -> str:
    cells, seeds = difference.over_cells, difference.over_seeds
    text = f"{difference.name} {_in_unit(cells.mean, difference)}"
    if cells.number > 1:
        text += f" ± {_in_unit(cells.half_width, difference, sign='')} over {cells.number} cells"
    if seeds is not None:
        mean = "" if abs(seeds.mean - cells.mean) < 1e-9 else f"{_in_unit(seeds.mean, difference)} "
        text += f"{',' if cells.number > 1 else ''} {mean}± {_in_unit(seeds.half_width, difference, sign='')}"
        text += f" over {seeds.number} seeds"
    return text


def _in_unit(value: float, difference: Difference, sign: str = "+") -> str:
    factor = 100 if difference.unit == "points" else 1
    return f"{factor * value:{'' if difference.unit == '%' else sign}.1f}"


def _epochs(preset: str, epochs: int) -> str:
    return str(epochs) if preset == "paper" else f"{epochs}, {preset}"


def _table(
    title: str,
    note: str,
    runs: pd.DataFrame,
    keys: Mapping[str, str],
    names: Mapping[str, str],
    paper: Mapping[Any, float] | None,
    digits: int = 3,
) -> Table:
    """Return a row for each value of the key columns and number of epochs, and a column for each aggregator.

    A cell has the paper's number before ours, unless the paper has no such table. The paper's preset is first.
    """
    runs = runs.assign(other_preset=runs["preset"] != "paper")
    rows = []
    for (_, preset, epochs, *key), group in runs.groupby(["other_preset", "preset", "epochs", *keys.values()]):
        cells = []
        for name in names:
            text = measured(group.loc[group["aggregator"] == name].sort_values("seed")["best"], digits)
            if paper is not None and text != NOT_RUN:
                text = f"{f'{paper[*key, name]:.{digits}f}' if (*key, name) in paper else NOT_RUN} / {text}"
            cells.append(text)
        rows.append((*(_TEXTS.get(each, str(each)) for each in key), _epochs(preset, epochs), *cells))
    return Table(title, note, (*keys, "epochs", *names.values()), rows)


def _table2(runs: pd.DataFrame) -> Table:
    runs = select(runs, data=list(DATA))
    runs.loc[runs["aggregator"] == "flatten", "size"] = FLATTEN_ROW
    runs = runs[runs["size"].isin(TABLE2_SIZES)]
    title = "Table 2: test accuracy, images of one size"
    return _table(
        title, "", runs, {"data": "data", "size": "size"}, _titles("flatten", "avg", "max", "conv1x1", "san"), TABLE2
    )


def _table3(runs: pd.DataFrame) -> Table:
    title = "Table 3: test accuracy, images of several sizes"
    note = f"The layer has size {SEVERAL_SIZES}; the paper does not state its own."
    keys = {"data": "data", "trained on": "train_sizes", "tested at": "side"}
    return _table(title, note, at_sizes(runs), keys, _titles("max", "avg", "san"), TABLE3)


def _table4(runs: pd.DataFrame) -> Table:
    runs = select(runs, backbone="resnet56", data="cifar10")
    paper = {(name,): error for name, error in TABLE4.items()}
    title = "Table 4: test error, ResNet-56 on CIFAR-10"
    return _table(title, "", runs.assign(best=1 - runs["best"]), {}, _titles(*TABLE4), paper, digits=4)


def _dropout(runs: pd.DataFrame) -> Table:
    flatten = select(runs, data=list(DATA), aggregator="flatten")
    dropped = select(runs, data=list(DATA), aggregator="flatten", dropout=0.5).assign(aggregator="dropout")
    san = select(runs, data=list(DATA), aggregator="san", size=FLATTEN_ROW)
    names = {"flatten": "flatten", "dropout": "flatten, dropout 0.5", "san": f"SAN, {FLATTEN_ROW}"}
    note = "The paper gives no numbers."
    table = _table(
        "Dropout: test accuracy", note, pd.concat([flatten, dropped, san]), {"data": "data"}, names, paper=None
    )
    return table._replace(rows=[row for row in table.rows if row[3] != NOT_RUN])


def _ablations(runs: pd.DataFrame) -> Table:
    """Return the effect of single changes on a network of size 1024 on CIFAR-10, over common seeds."""
    runs = runs.query("preset == 'paper' and backbone == 'small_cnn' and data == 'cifar10' and size == 1024")
    runs = runs[
        (runs["dropout"] == 0) & (runs["train_sizes"] != "original") & ~runs["overrides"].str.contains("num_train")
    ]
    by_change = dict(iter(runs.groupby(["train_sizes", "epochs", "overrides"])))
    rows = []
    for (train_sizes, epochs, overrides), group in by_change.items():
        baseline = by_change.get((train_sizes, 15, "{}"))
        if baseline is None or group is baseline or (overrides != "{}" and epochs != 15):
            continue
        change = overrides.strip("{}").replace('"', "") if overrides != "{}" else f"epochs: {epochs}"
        scores = [runs.set_index(["aggregator", "seed"])["score"] for runs in (group, baseline)]
        difference = (scores[0] - scores[1]).dropna()
        effects = [list(difference[difference.index.get_level_values(0) == n]) for n in ("san", "max", "conv1x1")]
        if any(effects):
            texts = (measured(each, digits=1, factor=100, sign="+") for each in effects)
            rows.append((change, _TEXTS[train_sizes], *texts))
    note = (
        "Points of accuracy, less the same network with the preset paper and 15 epochs. An empty cell does not apply."
    )
    header = ("changed to", "images of", "SAN, 1024", "max, 1024", "conv-1x1, 1024")
    return Table("Ablations: what a single change does on CIFAR-10", note, header, rows)


def _titles(*names: str) -> dict[str, str]:
    return {name: NAMES[name] for name in names}
