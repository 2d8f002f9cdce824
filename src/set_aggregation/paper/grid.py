"""Which runs each table and figure of the paper is made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from set_aggregation.paper.presets import OPEN_POINTS
from set_aggregation.paper.settings import Settings

DATA = ("cifar10", "fashion_mnist", "digits")
AGGREGATORS = ("flatten", "avg", "max", "conv1x1", "san", "original")
SIZES = (128, 256, 512, 1024, 2048, 4096)
_FLATTEN_SIZE = 128  # of Table 1
_FEATURES = 64  # of the feature map, which is what "original" classifies by
_MANY_EPOCHS = 40  # the default of the authors' code


@dataclass(frozen=True)
class Choice:
    """What is made of an experiment; None is what the paper has.

    Args:
        data: names of data sets.
        aggregators: short names of aggregators.
        sizes: the paper's sizes, but for flatten, which has one.
        train_sizes: the sizes trained on, where images come in several: ``"all"``, ``"original"``.
        seeds: of the runs.
        epochs: of training.
        preset: one of :data:`~set_aggregation.paper.presets.PRESETS`.
    """

    data: Sequence[str] | None = None
    aggregators: Sequence[str] | None = None
    sizes: Sequence[int] | None = None
    train_sizes: Sequence[str] | None = None
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    epochs: int | None = None
    preset: str = "paper"


@dataclass(frozen=True)
class _Grid:
    """A table or figure: every value with every other, seed by seed."""

    aggregators: tuple[str, ...]
    data: tuple[str, ...] = ("cifar10", "fashion_mnist")
    sizes: tuple[int, ...] = (1024,)
    train_sizes: tuple[str | None, ...] = (None,)
    backbone: str = "small_cnn"
    epochs: int = 15  # the README of the authors' code

    def runs(self, choice: Choice) -> Iterator[Settings]:
        for seed in choice.seeds:
            for data in choice.data or self.data:
                for train_sizes in (choice.train_sizes or self.train_sizes) if self.train_sizes[0] else (None,):
                    for aggregator in choice.aggregators or self.aggregators:
                        for size in _sizes(aggregator, choice.sizes or self.sizes):
                            yield Settings(
                                data, aggregator, size, seed, choice.epochs or self.epochs, choice.preset,
                                self.backbone, train_sizes,
                            )  # fmt: skip


_TABLE2 = _Grid(("flatten", "avg", "max", "conv1x1", "san"), sizes=SIZES)
_GRIDS = {
    "table2": _TABLE2,
    "table3": _Grid(("max", "avg", "san"), train_sizes=("all", "original")),
    "table4": _Grid(
        ("original", "avg", "max", "conv1x1", "san"), ("cifar10",), (4096,), backbone="resnet56", epochs=200
    ),
    "figure3": replace(_TABLE2, data=("cifar10",)),
    "figure4": replace(_TABLE2, data=("fashion_mnist",)),
}


def expand(experiment: str, choice: Choice) -> list[Settings]:
    """The runs of an experiment, each once, in the order in which they are made: a seed after the other, so that what
    is there after some time is a table with fewer seeds.

    Args:
        experiment: one of :data:`EXPERIMENTS`.
        choice: of all its runs.

    Raises:
        ValueError: a choice that this experiment does not have.

    Example:
        >>> len(expand("table2", Choice()))
        250
    """
    return list({settings.key: settings for settings in EXPERIMENTS[experiment](choice)}.values())


def _sizes(aggregator: str, sizes: Sequence[int]) -> Sequence[int]:
    return {"flatten": (_FLATTEN_SIZE,), "original": (_FEATURES,)}.get(aggregator, sizes)


def _dropout(choice: Choice) -> Iterator[Settings]:
    """Claim 5: flatten with dropout against flatten without and SAN."""
    for settings in _Grid(("flatten", "san"), sizes=(4096,)).runs(choice):
        if settings.aggregator == "flatten":
            yield replace(settings, dropout=0.5)
        yield settings


def _open_points(choice: Choice) -> Iterator[Settings]:
    """Each open point alone, against the preset; those of images of several sizes where there are such."""
    one_size = _Grid(("max", "san"), ("cifar10",))
    for grid in (one_size, replace(one_size, train_sizes=("all",))):
        for settings in grid.runs(choice):
            points = [(name, point) for name, point in OPEN_POINTS.items() if point.applies(settings)]
            if settings.train_sizes:  # only what images of one size do not have
                points = [
                    (name, point) for name, point in points if not point.applies(replace(settings, train_sizes=None))
                ]
            yield settings
            if not settings.train_sizes and choice.epochs is None:
                yield replace(settings, epochs=_MANY_EPOCHS)
            for name, point in points:
                yield from (replace(settings, overrides={name: value}) for value in point.others)


EXPERIMENTS: Mapping[str, Callable[[Choice], Iterator[Settings]]] = {
    **{name: grid.runs for name, grid in _GRIDS.items()},
    "dropout": _dropout,
    "open_points": _open_points,
}
