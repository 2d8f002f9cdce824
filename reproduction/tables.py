"""Tables of the paper beside what was measured, as text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reproduction.cells import (
    DROPOUT,
    OPEN_POINT_SIZE,
    TRAIN_SIZES,
    Cell,
    Group,
    cell,
    groups,
    has_open_point,
    multires_sizes,
    one_size,
    open_points,
    resnet,
    several_sizes,
)
from reproduction.claims import sides
from reproduction.contrast import Contrast, Measure, Measured, accuracy, accuracy_at, contrast
from reproduction.published import (
    DATA,
    FLATTEN_ROW,
    NAMES,
    SIZES,
    TABLE3_AGGREGATORS,
    TABLE4_ERROR,
    table2,
    table3,
)
from reproduction.reading import FinishedRun

Runs = Sequence[FinishedRun]

NOT_RUN = "not run"
NOTHING = "-"
SINGLE = "†"  # of an interval that is of the test images, not of seeds


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        title: what it shows.
        header: a text for each column.
        rows: a text for each column.
        num_labels: how many columns, from the left, are words.
        note: what a reader must know; may be empty.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_labels: int = 1
    note: str = ""


_OURS = ("paper", "ours, best on validation", "n", "difference", "ours, last epoch", "difference, last epoch")


def paper_tables(runs: Runs, group: Group) -> list[Table]:
    """Tables 2 to 4, dropout and open points, of those runs that may be compared; without rows where none is run.

    Args:
        runs: all.
        group: preset and epochs.
    """
    several = [_table3(runs, group, size) for size in multires_sizes(runs, group)]
    tables = [
        *(_table2(runs, group, data) for data in DATA),
        *(table for tables in several for table in tables),
        _table4(runs, group),
        _dropout(runs, group),
        _open_points(runs, group),
    ]
    return [
        table if any(NOT_RUN not in row for row in table.rows) else Table(table.title, table.header, ())
        for table in tables
    ]


def interval(measured: Contrast, factor: float = 1.0, digits: int = 4, sign: str = "") -> str:
    """A mean and half its 95 % interval.

    Args:
        measured: what to write; without runs it says so.
        factor: to multiply with.
        digits: behind the point.
        sign: ``"+"`` to write that of positive numbers.

    Example:
        >>> interval(Contrast("", {0: 0.7, 1: 0.72}, None, ())), interval(Contrast("", {0: 0.7}, 0.006, ()))
        ('0.7100 ± 0.1271', '0.7000 ± 0.0118†')
    """
    if not measured.values:
        return NOT_RUN
    text = f"{factor * measured.mean:{sign}z.{digits}f}"
    if measured.half_width is None:
        return text
    mark = SINGLE if len(measured.values) == 1 else ""
    return f"{text} ± {factor * measured.half_width:.{digits}f}{mark}"


def _ours(runs: Cell, paper: float | None, measure: Callable[[str], Measure], digits: int) -> tuple[str, ...]:
    """The columns of ``_OURS``."""
    best, last = (contrast("", [(1, runs, measure(which))]) for which in ("best", "last"))

    def difference(measured: Contrast) -> str:
        if not measured.values:
            return NOT_RUN
        return NOTHING if paper is None else f"{measured.mean - paper:+z.4f}"

    return (
        NOTHING if paper is None else f"{paper:.{digits}f}",
        interval(best),
        str(len(best.values)),
        difference(best),
        interval(last),
        difference(last),
    )


def _table2(runs: Runs, group: Group, data: str) -> Table:
    def rows() -> Iterator[tuple[str, ...]]:
        for size in SIZES:
            for name in ("flatten", "avg", "max", "conv1x1", "san"):
                if name == "flatten" and size != FLATTEN_ROW:
                    continue
                measured = cell(runs, group, one_size(data, name, size))
                yield str(size), NAMES[name], *_ours(measured, table2(data, name, size), accuracy, 3)

    return Table(f"Table 2, {DATA[data]}: accuracy", ("size", "aggregator", *_OURS), tuple(rows()), 2)


def _table3(runs: Runs, group: Group, size: int) -> Iterator[Table]:
    for data in DATA:
        for train_sizes, words in TRAIN_SIZES.items():
            cells = {
                name: cell(runs, group, several_sizes(data, name, train_sizes, size)) for name in TABLE3_AGGREGATORS
            }
            measured = [run for runs_of_one in cells.values() for run in runs_of_one.values()]
            rows = tuple(
                (
                    f"{side}x{side}",
                    NAMES[name],
                    *_ours(cells[name], table3(data, train_sizes, side, name), _at(side), 4),
                )
                for side in sides(data, measured)
                for name in TABLE3_AGGREGATORS
            )
            title = f"Table 3, {DATA[data]}, trained on {words}: accuracy at each size"
            note = (
                f"Size of the aggregation layer {size}; the paper does not say its own. The best weights are so on "
                "validation images of all sizes, also where one only was trained on; the last ones owe them nothing."
            )
            yield Table(title, ("image", "aggregator", *_OURS), rows, 2, note)


def _at(side: int) -> Callable[[str], Measure]:
    return lambda which: accuracy_at(f"{side}x{side}", which)


def _table4(runs: Runs, group: Group) -> Table:
    def error(which: str) -> Measure:
        def measure(run: FinishedRun) -> Measured | None:
            measured = accuracy(which)(run)
            return None if measured is None else Measured(1 - measured.value, measured.variance)

        return measure

    rows = tuple(
        (NAMES.get(name, name), *_ours(cell(runs, group, resnet(name)), paper, error, 4))
        for name, paper in TABLE4_ERROR.items()
    )
    return Table("Table 4, CIFAR-10, ResNet-56: test error", ("network", *_OURS), rows)


def _dropout(runs: Runs, group: Group) -> Table:
    def rows() -> Iterator[tuple[str, ...]]:
        for data in DATA:
            for label, name, rate in (
                ("flatten", "flatten", 0.0),
                (f"flatten, dropout {DROPOUT}", "flatten", DROPOUT),
                (f"SAN, {FLATTEN_ROW}", "san", 0.0),
            ):
                measured = cell(runs, group, one_size(data, name, FLATTEN_ROW, dropout=rate))
                paper = None if rate else table2(data, name, FLATTEN_ROW)
                yield DATA[data], label, *_ours(measured, paper, accuracy, 3)

    note = "The paper says that dropout makes flatten comparable to SAN, and gives no numbers."
    return Table("Dropout: accuracy", ("data", "network", *_OURS), tuple(rows()), 2, note)


def _open_points(runs: Runs, group: Group) -> Table:
    turned: list[tuple[str, str, str | None, Group, Mapping[str, Any]]] = [
        (name, str(value), train_sizes, group, {name: value})
        for train_sizes, override in open_points(runs, group)
        for name, value in override.items()
    ]
    if turned:  # else there is no such experiment
        others = [other for other in groups(runs) if other.preset == group.preset and other != group]
        plain = [one_size("cifar10", name, OPEN_POINT_SIZE) for name in ("san", "max")]
        turned += [
            ("epochs", str(other.epochs), None, other, {})
            for other in others
            if any(cell(runs, other, wanted) for wanted in plain)
        ]
    rows = []
    for point, value, train_sizes, other, override in turned:
        row = [point, value, TRAIN_SIZES[train_sizes] if train_sizes else "one size"]
        for name in ("san", "max"):
            if override and not has_open_point(name, point, train_sizes, group):
                row += ["does not apply", "-"]
                continue
            wanted = one_size("cifar10", name, OPEN_POINT_SIZE, train_sizes=train_sizes)
            base, changed = cell(runs, group, wanted), cell(runs, other, {**wanted, "overrides": override})
            effect = contrast("", [(1, changed, accuracy()), (-1, base, accuracy())])
            row += [interval(effect, 100, 2, "+"), str(len(effect.values))]
        rows.append(tuple(row))
    return Table(
        "Open points, CIFAR-10: what turning a single one changes, in points of accuracy",
        ("open point", "turned to", "images of", f"SAN, {OPEN_POINT_SIZE}", "n", f"max, {OPEN_POINT_SIZE}", "n"),
        tuple(rows),
        3,
        "Difference to the baseline of the preset, mean over the seeds that both have.",
    )
