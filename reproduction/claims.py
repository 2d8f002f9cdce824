"""The paper's claims, and the verdicts on them.

1. Each claim is one difference, or a few where it names several things. A difference is measured once in each cell of
   a table or figure, as the mean over the seeds that both sides have.
2. Its interval is the 95 % interval of Student's t over the cells; with fewer than three cells it is the one over the
   seeds that all cells have.
3. Supported: the interval of each difference is above 0, or above -1.5 points where the claim is "as good as".
   Contradicted: that of one of them is below. Undecided: anything else.
4. Runs of another preset or number of epochs are a row of their own. Nothing is corrected for the number of claims.
5. Not covered: all runs share the test images, the cells are no random sample and partly share runs, and other networks
   or data sets may behave differently.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd
from scipy import stats

from reproduction.paper_numbers import CLAIMS, DATA, FLATTEN_ROW, MARGIN, TABLE2, TABLE2_SIZES, TABLE3, TABLE4

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
_LEVEL = 0.95
_MIN_CELLS = 3  # for an interval over the cells
SEVERAL_SIZES = 1024  # size of the layer for Table 3, which states none
_HIGH = 0.9  # "high performance (over 90%)"
FOUND = 0.01  # largest matching error of a set that counts as found
_MET = 1e-6  # largest residual of a search that counts as successful


class Interval(NamedTuple):
    """Mean and half-width of a 95 % interval (NaN for a single value), and number of values."""

    mean: float
    half_width: float
    number: int


def t_interval(values: Iterable[float]) -> Interval:
    """Return the mean and half its 95 % interval, t(n - 1) s / sqrt(n)."""
    found = pd.Series(list(values), dtype=float)
    half_width = stats.t.ppf((1 + _LEVEL) / 2, len(found) - 1) * found.sem()
    return Interval(float(found.mean()), float(half_width), len(found))


@dataclass(frozen=True)
class Difference:
    """Difference that a claim is about."""

    name: str  # what is subtracted from what
    values: pd.Series  # by seed (first level of the index) and cell (the others)
    places: frozenset[str]  # lines of the results that it uses
    null: float = 0.0  # supported above it
    paper: float | None = None  # the same difference in the paper's numbers
    unit: str = "points"  # of accuracy, stored as a share; or "epochs", "%"

    @property
    def over_cells(self) -> Interval:
        """Interval over the means of the cells."""
        return t_interval(self.values.groupby(level=list(range(1, self.values.index.nlevels))).mean())

    @property
    def over_seeds(self) -> Interval:
        """Interval over the seeds that all cells have."""
        return t_interval(self.values.unstack(0).dropna(axis=1).mean())

    @property
    def verdict(self) -> str:
        """Verdict of the interval."""
        interval = self.over_cells if self.over_cells.number >= _MIN_CELLS else self.over_seeds
        if interval.mean - interval.half_width > self.null:
            return SUPPORTED
        return CONTRADICTED if interval.mean + interval.half_width < self.null else UNDECIDED


class Judgement(NamedTuple):
    """A claim and its verdict from the runs of one preset (empty for theory, and without runs) and number of epochs."""

    number: int
    preset: str
    epochs: int
    differences: Sequence[Difference]

    @property
    def claim(self) -> str:
        """Text of the claim."""
        return CLAIMS[self.number - 1]

    @property
    def verdict(self) -> str:
        """Verdict of all differences together."""
        verdicts = {each.verdict for each in self.differences}
        return next((each for each in (CONTRADICTED, UNDECIDED) if each in verdicts), SUPPORTED)

    @property
    def num_runs(self) -> int:
        """Number of lines that the claim uses."""
        return len(frozenset().union(*(each.places for each in self.differences)))


def judge(runs: pd.DataFrame, measurements: pd.DataFrame) -> list[Judgement]:
    """Judge each claim once for each preset and number of epochs with runs of it, and at least once."""
    judged = []
    groups = sorted(runs.groupby(["preset", "epochs"]), key=lambda group: (group[0][0] != "paper", group[0]))
    for number, differences in enumerate((_global, _flatten, _fit, _speed, _dropout, _sizes, _resnet), start=1):
        found = [Judgement(number, preset, epochs, [*differences(part)]) for (preset, epochs), part in groups]
        judged += [each for each in found if each.num_runs] or [Judgement(number, "", 0, [*differences(runs[:0])])]
    return [*judged, Judgement(8, "", 0, [_theorem1(measurements), _remark1(measurements)])]


def select(runs: pd.DataFrame, **settings: Any) -> pd.DataFrame:
    """Return the runs with these settings, by default those of Table 2: the small network, without overrides."""
    wanted = {"backbone": "small_cnn", "train_sizes": "", "dropout": 0, "overrides": "{}", **settings}
    is_wanted = pd.Series(True, runs.index)
    for name, value in wanted.items():
        is_wanted &= runs[name].isin(value if isinstance(value, list) else [value])
    return runs[is_wanted].copy()


def at_sizes(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run of Table 3 and size of the test images: column ``side``, and ``best`` at that size."""
    runs = select(runs, train_sizes=["all", "original"], size=SEVERAL_SIZES, data=list(DATA))
    runs["sizes"] = [list(sizes.items()) for sizes in runs["sizes"]]
    runs = runs.explode("sizes")
    runs["best"] = [accuracy for _, accuracy in runs["sizes"]]
    runs["side"] = [int(size.partition("x")[0]) for size, _ in runs["sizes"]]
    return runs


def epochs_to(level: float, curves: Sequence[Mapping[str, float]]) -> float:
    """Return the epoch at which test accuracy reaches a level, interpolated; one after the last if it never does."""
    accuracies = [row["test_accuracy"] for row in curves]
    before = next((number for number, accuracy in enumerate(accuracies) if accuracy >= level), len(curves))
    if before in (0, len(curves)):
        return before + 1.0
    rise = accuracies[before] - accuracies[before - 1]
    return before + (level - accuracies[before - 1]) / rise


def _global(runs: pd.DataFrame) -> Iterator[Difference]:
    runs = select(runs, data="cifar10", size=list(TABLE2_SIZES))
    for rival in ("avg", "max"):
        paper = fmean(TABLE2["cifar10", size, "san"] - TABLE2["cifar10", size, rival] for size in TABLE2_SIZES)
        yield _difference(f"SAN less {rival}", runs, ["size"], "san", rival, paper=paper)


def _flatten(runs: pd.DataFrame) -> Iterator[Difference]:
    data = "fashion_mnist"
    runs = select(runs, data=data)
    flatten = runs[runs["aggregator"] == "flatten"]
    san = runs[(runs["aggregator"] == "san") & runs["size"].isin(TABLE2_SIZES)]
    if len(flatten):
        san = san[san["parameters"] < flatten["parameters"].min()]
    both = pd.concat([san, *(flatten.assign(size=size) for size in TABLE2_SIZES)])
    paper = fmean(TABLE2[data, size, "san"] - TABLE2[data, FLATTEN_ROW, "flatten"] for size in TABLE2_SIZES)
    yield _difference("SAN less flatten", both, ["size"], "san", "flatten", null=-MARGIN, paper=paper)


def _fit(runs: pd.DataFrame) -> Iterator[Difference]:
    runs = select(runs, data=list(DATA), size=list(TABLE2_SIZES))
    runs = runs[runs["curves"].map(len) > 0]
    runs["train"] = [curves[-1]["train_accuracy"] for curves in runs["curves"]]
    runs["gap"] = [curves[-1]["train_accuracy"] - curves[-1]["test_accuracy"] for curves in runs["curves"]]
    cells = ["data", "size"]
    yield _difference("gap between training and test, max less SAN", runs, cells, "max", "san", column="gap")
    yield _difference("gap, conv-1x1 less SAN", runs, cells, "conv1x1", "san", column="gap")
    yield _difference("training accuracy, SAN less avg", runs, cells, "san", "avg", column="train")


def _speed(runs: pd.DataFrame) -> Iterator[Difference]:
    runs = select(runs, data="fashion_mnist", size=list(TABLE2_SIZES))
    runs = runs[runs["curves"].map(len) > 0]
    runs["epochs_to"] = [epochs_to(_HIGH, curves) for curves in runs["curves"]]
    name = "epochs to 90 %, avg less SAN"
    yield _difference(name, runs, ["size"], "avg", "san", column="epochs_to", unit="epochs")


def _dropout(runs: pd.DataFrame) -> Iterator[Difference]:
    flatten = select(runs, data=list(DATA), aggregator="flatten", dropout=0.5)
    both = pd.concat([flatten, select(runs, data=list(DATA), aggregator="san", size=FLATTEN_ROW)])
    yield _difference("flatten with dropout less SAN", both, ["data"], "flatten", "san", null=-MARGIN)


def _sizes(runs: pd.DataFrame) -> Iterator[Difference]:
    runs, rivals = at_sizes(runs), ("max", "avg")
    paper = pd.Series(TABLE3).unstack()
    leads = [
        _difference(
            f"SAN less {rival}",
            runs,
            ["data", "train_sizes", "side"],
            *("san", rival),
            paper=float((paper["san"] - paper[rival]).mean()),
        )
        for rival in rivals
    ]
    yield from leads
    values = pd.concat([each.values for each in leads], keys=rivals, names=["rival"]).unstack("train_sizes")
    values = values.reindex(columns=["original", "all"])
    change = (values["original"] - values["all"]).dropna().swaplevel("rival", "seed")
    by_training = (2 * paper["san"] - paper["max"] - paper["avg"]).groupby(level=1).mean() / 2
    yield Difference(
        "that lead when trained at one size less when at all",
        change,
        frozenset().union(*(each.places for each in leads)) if len(change) else frozenset(),
        paper=by_training["original"] - by_training["all"],
    )


def _resnet(runs: pd.DataFrame) -> Iterator[Difference]:
    runs = select(runs, data="cifar10", backbone="resnet56")
    paper = TABLE4["original"] - TABLE4["san"]
    yield _difference("error of the original network less SAN's", runs, ["data"], "san", "original", paper=paper)


def _theorem1(measurements: pd.DataFrame) -> Difference:
    name = "searches that met SAN's embedding at the largest M and found the set"
    cells = ["elements", "features"]
    lines = measurements.query("experiment == 'theorem1' and aggregator == 'san' and residual <= @_MET")
    lines = lines[lines["size"] == lines.groupby(cells)["size"].transform("max")]
    found = 100.0 * (lines.set_index(["seed", *cells])["error"] <= FOUND)
    return Difference(name, found, frozenset(lines["place"]), null=50, unit="%")


def _remark1(measurements: pd.DataFrame) -> Difference:
    name = "decrease of power-mean SAN's distance from max, from p = 1 to the largest p"
    lines = measurements.query("experiment == 'remark1'").sort_values("p")
    ends = lines.groupby("seed")["difference"].agg(["first", "last"])
    decrease = 100 * (1 - ends["last"] / ends["first"])
    by_draw = pd.concat([decrease], keys=[0], names=["seed"])  # each draw is a cell
    return Difference(name, by_draw, frozenset(lines["place"]), null=99, unit="%")


def _difference(
    name: str, runs: pd.DataFrame, cells: list[str], one: str, other: str, column: str = "best", **more: Any
) -> Difference:
    """Subtract an aggregator's values from another's, in each cell and for each seed that both have."""
    sides = [runs[runs["aggregator"] == each].set_index(["seed", *cells]) for each in (one, other)]
    values = (sides[0][column] - sides[1][column]).dropna().astype(float)
    places = (place for side in sides for place in side["place"].reindex(values.index))
    return Difference(name, values, frozenset(places), **more)
