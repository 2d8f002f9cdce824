"""Which runs each table and figure of the paper is made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from reproduction import pooling
from reproduction.presets import OPEN_POINTS
from reproduction.settings import Settings

DATA = ("cifar10", "fashion_mnist", "digits")
AGGREGATORS = ("flatten", "avg", "max", "conv1x1", "san", "original", *pooling.LIKE)
SIZES = (128, 256, 512, 1024, 2048, 4096)
_OWN_SIZE = {"flatten": (128,), "original": (64,)}  # as Table 1 has it; the channels of the feature map
_EPOCHS, _MANY_EPOCHS = 15, 40  # in the README of the authors' code; its default


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
        preset: one of :data:`~reproduction.presets.PRESETS`.
    """

    data: Sequence[str] | None = None
    aggregators: Sequence[str] | None = None
    sizes: Sequence[int] | None = None
    train_sizes: Sequence[str] | None = None
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    epochs: int | None = None
    preset: str = "paper"


@dataclass(frozen=True)
class Grid:
    """A table or figure: each of its values with each other.

    Args:
        aggregators: short names.
        data: names of data sets.
        sizes: the paper's sizes; flatten and original have one of their own.
        train_sizes: None for images of one size.
        backbone: name of the backbone.
        epochs: of training.
    """

    aggregators: tuple[str, ...]
    data: tuple[str, ...] = ("cifar10", "fashion_mnist")
    sizes: tuple[int, ...] = (1024,)
    train_sizes: tuple[str | None, ...] = (None,)
    backbone: str = "small_cnn"
    epochs: int = _EPOCHS

    def runs(self, choice: Choice) -> Iterator[Settings]:
        """Gives the runs, a seed after the other, so that what is there after some time is a table of fewer seeds.

        Args:
            choice: of them.
        """
        axes = (
            choice.seeds,
            choice.data or self.data,
            choice.train_sizes or self.train_sizes,
            choice.aggregators or self.aggregators,
        )
        epochs = choice.epochs or self.epochs
        for seed, data, train_sizes, aggregator in product(*axes):
            for size in _OWN_SIZE.get(aggregator, choice.sizes or self.sizes):
                yield Settings(data, aggregator, size, seed, epochs, choice.preset, self.backbone, train_sizes)

    def check(self, experiment: str, choice: Choice) -> None:
        """Refuses what this grid does not have.

        Args:
            experiment: its name.
            choice: of its runs.

        Raises:
            ValueError: other data or aggregators, or sizes trained on where images have one size.
        """
        for name, there, chosen in (
            ("data", (*self.data, "digits"), choice.data or ()),
            ("aggregators", self.aggregators, choice.aggregators or ()),
            ("train_sizes", self.train_sizes, choice.train_sizes or ()),
        ):
            if wrong := next((value for value in chosen if value not in there), None):
                expected = ", ".join(str(value) for value in there if value is not None) or "none: images have one size"
                raise ValueError(f"got --{name} {wrong} for {experiment}, expected {expected}")


def expand(experiment: str, choice: Choice) -> list[Settings]:
    """The runs of an experiment, each once, in the order in which they are made.

    Args:
        experiment: one of :data:`EXPERIMENTS`.
        choice: of its runs.

    Raises:
        ValueError: a choice that this experiment does not have.

    Example:
        >>> len(expand("table2", Choice()))
        250
    """
    grid, vary = EXPERIMENTS[experiment]
    grid.check(experiment, choice)
    runs = (varied for settings in grid.runs(choice) for varied in vary(settings))
    return list({settings.key: settings for settings in runs}.values())


def _as_it_is(settings: Settings) -> Iterator[Settings]:
    yield settings


def _with_dropout(settings: Settings) -> Iterator[Settings]:
    """Flatten with dropout, against flatten without it and SAN."""
    yield settings
    if settings.aggregator == "flatten":
        yield replace(settings, dropout=0.5)


def _with_open_points(settings: Settings) -> Iterator[Settings]:
    """Each open point alone, against the preset."""
    if settings.preset != "paper":
        raise ValueError(f"got --preset {settings.preset} for open_points, which are measured against the preset paper")
    yield settings
    if settings.train_sizes is None and settings.epochs == _EPOCHS:
        yield replace(settings, epochs=_MANY_EPOCHS)
    one_size = replace(settings, train_sizes=None)
    for name, point in OPEN_POINTS.items():
        # Of images of several sizes, what those of one size do not have.
        if point.applies(settings) and (settings == one_size or not point.applies(one_size)):
            yield from (replace(settings, overrides={name: value}) for value in point.others)


_TABLE2 = Grid(("flatten", "avg", "max", "conv1x1", "san"), sizes=SIZES)
_TABLE4 = Grid(("original", "avg", "max", "conv1x1", "san"), ("cifar10",), (4096,), backbone="resnet56", epochs=200)
EXPERIMENTS: Mapping[str, tuple[Grid, Callable[[Settings], Iterator[Settings]]]] = {
    "table2": (_TABLE2, _as_it_is),
    "table3": (Grid(("max", "avg", "san"), train_sizes=("all", "original")), _as_it_is),
    "table4": (_TABLE4, _as_it_is),
    "figure3": (replace(_TABLE2, data=("cifar10",)), _as_it_is),
    "figure4": (replace(_TABLE2, data=("fashion_mnist",)), _as_it_is),
    "dropout": (Grid(("flatten", "san"), sizes=(4096,)), _with_dropout),
    "open_points": (Grid(("max", "san"), ("cifar10",), train_sizes=(None, "all")), _with_open_points),
    "pooling": (Grid(tuple(pooling.CLASSES), train_sizes=(None, "all")), pooling.at_equal_parameters),
}
