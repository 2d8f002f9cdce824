"""What is measured in a run, and sums and differences of it over seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from reproduction.cells import Cell
from reproduction.reading import FinishedRun
from reproduction.statistics import binomial_variance, normal_half_width, paired_t, t_half_width, z_test

MARGIN = 0.015  # of accuracy: less between two single runs says nothing
TEST_IMAGES = {"paper": 5_000, "official": 10_000}  # by split; of others the fewest
CURVE_IMAGES = 4_500  # of learning curves: a tenth of the smallest training set, and as many of the test set


class Measured(NamedTuple):
    """A number of one run.

    Args:
        value: the number.
        variance: of it over other test images; None where that is not known.
    """

    value: float
    variance: float | None


Measure = Callable[[FinishedRun], Measured | None]
Term = tuple[float, Cell, Measure]  # coefficient, runs, and what of them


@dataclass(frozen=True)
class Contrast:
    """A sum of terms, such as the difference between two cells, over the seeds that all of them have.

    Args:
        name: what it is.
        values: by seed.
        error: standard error of the value of a single seed from the finite number of test images alone; None where it
            is not known.
        places: of the runs.
        null: what the mean is tested against; above it is in favour.
    """

    name: str
    values: Mapping[int, float]
    error: float | None
    places: tuple[str, ...]
    null: float = 0.0

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values.values())

    @property
    def half_width(self) -> float | None:
        """Half the 95 % interval: Student's t over the seeds, or of one seed that of the test images."""
        if len(self.values) > 1:
            return t_half_width(list(self.values.values()))
        return None if self.error is None else normal_half_width(self.error)

    @property
    def p_value(self) -> float:
        """Of a mean equal to ``null``, two-sided: the paired t test over the seeds. Of a single seed the z test by the
        test images, and 1 where the difference is within :data:`MARGIN`, since that knows nothing of other seeds."""
        distances = [value - self.null for value in self.values.values()]
        if len(distances) > 1:
            return paired_t(distances)
        if self.error is None or abs(distances[0]) <= MARGIN:
            return 1.0
        return z_test(distances[0], self.error)


def contrast(name: str, terms: Sequence[Term], null: float = 0.0) -> Contrast:
    """Adds terms, seed by seed.

    Args:
        name: what the sum is.
        terms: coefficient, cell and measure of each.
        null: what the sum is tested against.
    """
    factors = [factor for factor, _, _ in terms]
    measured = [
        {seed: value for seed, run in runs.items() if (value := measure(run)) is not None} for _, runs, measure in terms
    ]
    seeds = sorted(set.intersection(*(set(each) for each in measured)))
    return Contrast(
        name,
        {
            seed: math.fsum(factor * each[seed].value for factor, each in zip(factors, measured, strict=True))
            for seed in seeds
        },
        _error(factors, [each[seeds[0]].variance for each in measured]) if len(seeds) == 1 else None,
        tuple(runs[seed].place for _, runs, _ in terms for seed in seeds),
        null,
    )


def _error(factors: Sequence[float], variances: Sequence[float | None]) -> float | None:
    known = [variance for variance in variances if variance is not None]
    if len(known) < len(variances):
        return None
    return math.sqrt(math.fsum(factor**2 * variance for factor, variance in zip(factors, known, strict=True)))


def _proportion(value: float, run: FinishedRun) -> Measured:
    number = TEST_IMAGES.get(run.split, min(TEST_IMAGES.values()))
    return Measured(value, binomial_variance(value, number))


def accuracy(which: str = "best") -> Measure:
    """Test accuracy.

    Args:
        which: ``"best"`` on the validation set, or ``"last"``.
    """
    return lambda run: _proportion(run.test_accuracy[which], run)


def accuracy_at(size: str, which: str = "best") -> Measure:
    """Test accuracy on images of a size; None where that was not measured.

    Args:
        size: ``"16x16"``.
        which: ``"best"`` on the validation set, or ``"last"``.
    """

    def measure(run: FinishedRun) -> Measured | None:
        value = run.test_accuracy_per_size.get(which, {}).get(size)
        return None if value is None else _proportion(value, run)

    return measure


def mean_over_sizes(run: FinishedRun) -> Measured | None:
    """Mean of the test accuracies at all sizes, which are the same images and therefore no more of them."""
    values = run.test_accuracy_per_size.get("best", {}).values()
    return _proportion(fmean(values), run) if values else None


def train_accuracy(run: FinishedRun) -> Measured | None:
    """On training images after the last epoch, in evaluation mode."""
    if not run.curves:
        return None
    train = run.curves[-1]["train_accuracy"]
    return Measured(train, binomial_variance(train, CURVE_IMAGES))


def val_accuracy_after(epochs: float) -> Measure:
    """On the validation set, between two epochs on a straight line; None where less than an epoch was trained.

    Args:
        epochs: how many of those that were trained.
    """

    def measure(run: FinishedRun) -> Measured | None:
        points = {row["epoch"]: row["val_accuracy"] for row in run.curves if "val_accuracy" in row}
        before, after = math.floor(epochs), math.ceil(epochs)
        if not {before, after} <= points.keys():
            return None
        return _proportion(points[before] + (epochs - before) * (points[after] - points[before]), run)

    return measure


def gap(run: FinishedRun) -> Measured | None:
    """Training accuracy less test accuracy after the last epoch, in evaluation mode."""
    if not run.curves:
        return None
    train, test = (run.curves[-1][f"{part}_accuracy"] for part in ("train", "test"))
    return Measured(train - test, sum(binomial_variance(value, CURVE_IMAGES) for value in (train, test)))


def epochs_to(level: float) -> Measure:
    """After how many epochs the test accuracy first reaches a level, between two epochs on a straight line; one more
    than were trained where it never does.

    Args:
        level: the accuracy.
    """

    def measure(run: FinishedRun) -> Measured | None:
        before = None
        for row in run.curves:
            now = row["epoch"], row["test_accuracy"]
            if now[1] >= level:
                share = 1.0 if before is None else (level - before[1]) / (now[1] - before[1])
                return Measured(now[0] if before is None else before[0] + share * (now[0] - before[0]), None)
            before = now
        return Measured(run.settings["epochs"] + 1.0, None) if run.curves else None

    return measure
