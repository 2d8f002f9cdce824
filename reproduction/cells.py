"""Which runs are seeds of one thing: the cells of the tables. Presets and numbers of epochs are never mixed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from reproduction.grid import Choice, expand
from reproduction.presets import OPEN_POINTS
from reproduction.published import DATA, FLATTEN_ROW, FLATTEN_SIZE, SIZES, TABLE3_AGGREGATORS, TABLE4_ERROR
from reproduction.reading import FinishedRun
from reproduction.settings import Settings

Cell = Mapping[int, FinishedRun]  # by seed
Wanted = Mapping[str, Any]

DROPOUT = 0.5
MULTIRES_SIZE = 1024  # of Table 3, which does not say
OPEN_POINT_SIZE = 1024
TRAIN_SIZES = {"all": "all sizes", "original": "the original size only"}
_PLAIN: Wanted = {"backbone": "small_cnn", "train_sizes": None, "dropout": 0.0, "overrides": {}}


class Group(NamedTuple):
    """Runs that may be compared.

    Args:
        preset: how they were made.
        epochs: of training.
    """

    preset: str
    epochs: int

    @property
    def title(self) -> str:
        """As a person says it."""
        return f"preset {self.preset}, {self.epochs} epoch{'s' if self.epochs > 1 else ''}"


def groups(runs: Iterable[FinishedRun]) -> list[Group]:
    """All there are, the preset of the paper first.

    Args:
        runs: in any order.
    """
    found = {Group(str(run.settings["preset"]), int(run.settings["epochs"])) for run in runs}
    return sorted(found, key=lambda group: (group.preset != "paper", group))


def one_size(data: str, aggregator: str, size: int, **more: Any) -> Wanted:
    """The settings of a cell of Table 2; flatten stands in the row of 4096.

    Args:
        data: name of the data set.
        aggregator: short name of the aggregator.
        size: the row.
        more: other settings than those of the table.
    """
    size = FLATTEN_SIZE if aggregator == "flatten" else size
    return {**_PLAIN, "data": data, "aggregator": aggregator, "size": size, **more}


def several_sizes(data: str, aggregator: str, train_sizes: str, size: int = MULTIRES_SIZE) -> Wanted:
    """The settings of the cells of Table 3.

    Args:
        data: name of the data set.
        aggregator: short name of the aggregator.
        train_sizes: ``"all"`` or ``"original"``.
        size: inputs of the last dense layer.
    """
    return {**one_size(data, aggregator, size), "train_sizes": train_sizes}


def resnet(aggregator: str) -> Wanted:
    """The settings of a cell of Table 4.

    Args:
        aggregator: short name; ``"original"`` has no layer of 4096.
    """
    size = {} if aggregator == "original" else {"size": 4096}
    return {**_PLAIN, "backbone": "resnet56", "data": "cifar10", "aggregator": aggregator, **size}


def pooling(data: str, train_sizes: str | None) -> list[Wanted]:
    """The settings of the comparison of all aggregators.

    Args:
        data: name of the data set.
        train_sizes: None for images of one size, ``"all"`` for those of several.
    """
    runs = [run for run in expand("pooling", Choice([data], seeds=[0])) if run.train_sizes == train_sizes]
    of_group_or_run = ("preset", "epochs", "seed")
    return [{name: value for name, value in run.as_dict().items() if name not in of_group_or_run} for run in runs]


def cell(runs: Iterable[FinishedRun], group: Group, wanted: Wanted) -> Cell:
    """The runs with these settings, by seed, which is the only thing they differ in.

    Args:
        runs: all.
        group: preset and epochs.
        wanted: the other settings.

    Raises:
        ValueError: some of them differ in another setting, so that no mean can be taken.
    """
    exact = {**wanted, "preset": group.preset, "epochs": group.epochs}
    found = [run for run in runs if all(run.settings[name] == value for name, value in exact.items())]
    for run in found[1:]:
        names = {*run.settings, *found[0].settings} - {"seed"}
        if other := sorted(name for name in names if run.settings.get(name) != found[0].settings.get(name)):
            raise ValueError(
                f"got {found[0].place} and {run.place}, which differ in {', '.join(other)} and stand for one cell; "
                "keep one of them in results/"
            )
    return {run.seed: run for run in sorted(found, key=lambda run: run.seed)}


def open_points(runs: Iterable[FinishedRun], group: Group) -> list[tuple[str | None, Mapping[str, Any]]]:
    """Each single setting that some run has turned to another value than its preset's, with the sizes trained on.

    Args:
        runs: all.
        group: preset and epochs.
    """
    found = {
        (train_sizes or "", name, str(value)): (train_sizes, {name: value})
        for run in runs
        if (run.settings["preset"], run.settings["epochs"]) == group and len(run.settings["overrides"]) == 1
        for train_sizes in [run.settings["train_sizes"]]
        for name, value in run.settings["overrides"].items()
    }
    return [found[key] for key in sorted(found)]


def has_open_point(aggregator: str, point: str, train_sizes: str | None, group: Group) -> bool:
    """Whether a network has something that an open point changes; of a point that is none any more, yes.

    Args:
        aggregator: its short name.
        point: name of the open point, as a line has it.
        train_sizes: the sizes that it is trained on.
        group: preset and epochs.
    """
    settings = Settings("cifar10", aggregator, OPEN_POINT_SIZE, 0, group.epochs, group.preset, train_sizes=train_sizes)
    return point not in OPEN_POINTS or OPEN_POINTS[point].applies(settings)


def multires_sizes(runs: Iterable[FinishedRun], group: Group) -> list[int]:
    """The sizes of the aggregation layers that were trained on images of several sizes.

    Args:
        runs: all.
        group: preset and epochs.
    """
    found = {
        int(run.settings["size"])
        for run in runs
        if run.settings["train_sizes"] and (run.settings["preset"], run.settings["epochs"]) == group
    }
    return sorted(found) or [MULTIRES_SIZE]


def experiments(runs: Sequence[FinishedRun], group: Group) -> dict[str, list[Wanted]]:
    """The cells of each table.

    Args:
        runs: all; which open points there are, and which sizes in Table 3, is known from them alone.
        group: preset and epochs.
    """
    table2 = [
        one_size(data, name, size) for data in DATA for name in ("avg", "max", "conv1x1", "san") for size in SIZES
    ]
    return {
        "Table 2, Figures 3 and 4": table2 + [one_size(data, "flatten", FLATTEN_ROW) for data in DATA],
        "Table 3": [
            several_sizes(data, name, train_sizes, size)
            for size in multires_sizes(runs, group)
            for data in DATA
            for train_sizes in TRAIN_SIZES
            for name in TABLE3_AGGREGATORS
        ],
        "Table 4": [resnet(name) for name in TABLE4_ERROR],
        "Dropout": [one_size(data, "flatten", FLATTEN_ROW, dropout=DROPOUT) for data in DATA],
        "Open points": [
            wanted
            for train_sizes, override in open_points(runs, group)
            for name in ("san", "max")
            if all(has_open_point(name, point, train_sizes, group) for point in override)
            for wanted in [one_size("cifar10", name, OPEN_POINT_SIZE, overrides=override, train_sizes=train_sizes)]
        ],
        "Which pooling": [
            wanted for data in DATA for train_sizes in (None, "all") for wanted in pooling(data, train_sizes)
        ],
    }
