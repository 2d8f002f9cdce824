"""The paper's tables with the paper's number and ours in each cell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from reproduction.claims import SEVERAL_SIZES, Difference, Judgement, at_sizes, select
from reproduction.paper_numbers import DATA, FLATTEN_ROW, NAMES, TABLE2_SIZES, TABLE4_ERROR, table2, table3
from reproduction.statistics import t_interval

NOT_RUN = "-"
_TRAIN_SIZES = {"": "one size", "all": "all sizes", "original": "the original size"}


class Table(NamedTuple):
    """A table of texts.

    Args:
        title: what it shows.
        note: how to read it; may be empty.
        header: of the columns.
        rows: a text for each column.
    """

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def measured(values: Iterable[float], digits: int = 3, factor: float = 1, sign: str = "") -> str:
    """Return mean, interval and number of the values.

    Example:
        >>> measured([0.7, 0.72]), measured([0.7])
        ('0.710 ± 0.127 (2)', '0.700')
    """
    values = [factor * value for value in values]
    if not values:
        return NOT_RUN
    interval = t_interval(values)
    text = f"{interval.mean:{sign}.{digits}f}"
    return text if interval.half_width is None else f"{text} ± {interval.half_width:.{digits}f} ({interval.number})"


def verdicts(judged: Sequence[Judgement]) -> Table:
    """Return a row for each claim and number of epochs."""
    rows = []
    for each in judged:
        done = [difference for difference in each.differences if len(difference.values)]
        missing = [difference.name for difference in each.differences if not len(difference.values)]
        ours = [_ours(difference) for difference in done] + [f"{name}: not run" for name in missing]
        paper = [
            _in_unit(difference.paper, difference) for difference in each.differences if difference.paper is not None
        ]
        epochs = f"{each.epochs}{'' if each.preset == 'paper' else f', {each.preset}'}" if each.preset else NOT_RUN
        rows.append(
            (
                *(f"{each.number}. {each.claim}", epochs, "; ".join(paper) or NOT_RUN, "; ".join(ours)),
                *(str(each.num_runs), each.verdict),
            )
        )
    return Table("Verdicts", "", ("claim", "epochs", "paper", "ours", "runs", "verdict"), rows)


def paper_tables(runs: pd.DataFrame) -> list[Table]:
    """Return Tables 2 to 4, dropout and ablations, as far as they were run."""
    tables = [_table2(runs), _table3(runs), _table4(runs), _dropout(runs), _ablations(runs)]
    return [table for table in tables if table.rows]


def environments(runs: pd.DataFrame, measurements: pd.DataFrame) -> Table:
    """Return where the lines were made."""
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
    if cells.half_width is not None:
        text += f" ± {_in_unit(cells.half_width, difference, sign='')} over {cells.number} cells"
    if seeds is not None and seeds.half_width is not None:
        mean = "" if abs(seeds.mean - cells.mean) < 1e-9 else f"{_in_unit(seeds.mean, difference)} "
        text += (
            f"{',' if cells.half_width is not None else ''} {mean}± {_in_unit(seeds.half_width, difference, sign='')}"
        )
        text += f" over {seeds.number} seeds"
    return text


def _in_unit(value: float | None, difference: Difference, sign: str = "+") -> str:
    factor = 100 if difference.unit == "points" else 1
    return f"{factor * (value or 0):{'' if difference.unit == '%' else sign}.1f}"


def _groups(runs: pd.DataFrame, rows: Sequence[str]) -> Iterable[tuple[Any, pd.DataFrame]]:
    """Yield preset, epochs and the values of the row columns, with their runs; the preset of the paper first."""
    runs = runs.assign(other_preset=runs["preset"] != "paper")
    for key, group in runs.groupby(["other_preset", "preset", "epochs", *rows], sort=True):
        yield key[1:], group


def _beside(paper: float | None, values: Iterable[float], digits: int) -> str:
    text = measured(values, digits)
    return NOT_RUN if text == NOT_RUN else f"{NOT_RUN if paper is None else f'{paper:.{digits}f}'} / {text}"


def _epochs(preset: str, epochs: int) -> str:
    return str(epochs) if preset == "paper" else f"{epochs}, {preset}"


def _table2(runs: pd.DataFrame) -> Table:
    runs = select(runs, data=list(DATA))
    runs.loc[runs["aggregator"] == "flatten", "size"] = FLATTEN_ROW
    runs = runs[runs["size"].isin(TABLE2_SIZES)]
    names = ("flatten", "avg", "max", "conv1x1", "san")
    rows = [
        (
            *(DATA[data], str(size), _epochs(preset, epochs)),
            *(_beside(table2(data, name, size), _of(group, name), 3) for name in names),
        )
        for (preset, epochs, data, size), group in _groups(runs, ["data", "size"])
    ]
    return Table("Table 2: test accuracy, images of one size", "", ("data", "size", "epochs", *_titles(names)), rows)


def _table3(runs: pd.DataFrame) -> Table:
    names = ("max", "avg", "san")
    rows = [
        (
            *(DATA[data], _TRAIN_SIZES[train_sizes], str(side), _epochs(preset, epochs)),
            *(_beside(table3(data, train_sizes, side, name), _of(group, name), 3) for name in names),
        )
        for (preset, epochs, data, train_sizes, side), group in _groups(at_sizes(runs), ["data", "train_sizes", "side"])
    ]
    note = f"The layer has size {SEVERAL_SIZES}; the paper does not state its own."
    header = ("data", "trained on", "tested at", "epochs", *_titles(names))
    return Table("Table 3: test accuracy, images of several sizes", note, header, rows)


def _table4(runs: pd.DataFrame) -> Table:
    runs = select(runs, backbone="resnet56", data="cifar10")
    runs = runs.assign(best=1 - runs["best"])
    rows = [
        (_epochs(preset, epochs), *(_beside(paper, _of(group, name), 4) for name, paper in TABLE4_ERROR.items()))
        for (preset, epochs), group in _groups(runs, [])
    ]
    return Table("Table 4: test error, ResNet-56 on CIFAR-10", "", ("epochs", *_titles(TABLE4_ERROR)), rows)


def _dropout(runs: pd.DataFrame) -> Table:
    runs = pd.concat(
        [
            select(runs, data=list(DATA), aggregator="flatten", dropout=0.5).assign(aggregator="dropout"),
            select(runs, data=list(DATA), aggregator="flatten"),
            select(runs, data=list(DATA), aggregator="san", size=FLATTEN_ROW),
        ]
    )
    rows = [
        (DATA[data], _epochs(preset, epochs), *(measured(_of(group, name)) for name in ("flatten", "dropout", "san")))
        for (preset, epochs, data), group in _groups(runs, ["data"])
        if "dropout" in set(group["aggregator"])
    ]
    header = ("data", "epochs", "flatten", "flatten, dropout 0.5", f"SAN, {FLATTEN_ROW}")
    return Table("Dropout: test accuracy", "The paper gives no numbers.", header, rows)


def _ablations(runs: pd.DataFrame) -> Table:
    """Return what single changes do to a network of size 1024 on CIFAR-10, over the seeds that both have."""
    runs = runs.query("preset == 'paper' and backbone == 'small_cnn' and data == 'cifar10' and size == 1024")
    runs = runs[
        (runs["dropout"] == 0) & (runs["train_sizes"] != "original") & ~runs["overrides"].str.contains("num_train")
    ]
    runs = runs.assign(score=[_mean_accuracy(run) for run in runs.to_dict("records")])
    by_change = dict(iter(runs.groupby(["train_sizes", "epochs", "overrides"])))
    rows = []
    for (train_sizes, epochs, overrides), group in by_change.items():
        baseline = by_change.get((train_sizes, 15, "{}"))
        if baseline is None or group is baseline or (overrides != "{}" and epochs != 15):
            continue
        change = overrides.strip("{}").replace('"', "") if overrides != "{}" else f"epochs: {epochs}"
        effects = [_effect(group, baseline, name) for name in ("san", "max", "conv1x1")]
        if any(effects):
            texts = (measured(each, digits=1, factor=100, sign="+") for each in effects)
            rows.append((change, _TRAIN_SIZES[train_sizes], *texts))
    note = (
        "Points of accuracy, less the same network with the preset paper and 15 epochs. An empty cell does not apply."
    )
    header = ("changed to", "images of", "SAN, 1024", "max, 1024", "conv-1x1, 1024")
    return Table("Ablations: what a single change does on CIFAR-10", note, header, rows)


def _mean_accuracy(run: Mapping[Any, Any]) -> float:
    """Return the test accuracy, with several sizes the mean over them."""
    sizes = run["sizes"]
    return sum(sizes.values()) / len(sizes) if isinstance(sizes, dict) and sizes else run["best"]


def _effect(changed: pd.DataFrame, baseline: pd.DataFrame, name: str) -> list[float]:
    one, other = (runs[runs["aggregator"] == name].set_index("seed")["score"] for runs in (changed, baseline))
    return list((one - other).dropna())


def _of(group: pd.DataFrame, name: str) -> list[float]:
    return list(group.loc[group["aggregator"] == name].sort_values("seed")["best"])


def _titles(names: Iterable[str]) -> list[str]:
    return [NAMES[name] for name in names]
