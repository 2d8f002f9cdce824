"""The paper's claims about accuracy, as contrasts between cells. The eighth, on theory, is in ``theory_claim``."""

from collections.abc import Callable, Mapping, Sequence

from reproduction.cells import DROPOUT, TRAIN_SIZES, Cell, Group, Wanted, cell, one_size, resnet, several_sizes
from reproduction.contrast import (
    MARGIN,
    Contrast,
    accuracy,
    accuracy_at,
    contrast,
    epochs_to,
    gap,
    mean_over_sizes,
    train_accuracy,
)
from reproduction.published import DATA, FLATTEN_ROW, SIZES, TABLE3, TABLE4_ERROR, table3
from reproduction.reading import FinishedRun
from reproduction.verdict import Part

Runs = Sequence[FinishedRun]

_HIGH = 0.9  # "high performance (over 90%)"


def global_pooling(runs: Runs, group: Group) -> list[Part]:
    """1. SAN has a higher test accuracy on CIFAR-10 than average pooling and than max-pooling, at most sizes each.

    Args:
        runs: all.
        group: preset and epochs.
    """
    return [
        Part(
            f"SAN is more accurate than {rival}-pooling",
            "most",
            [_difference(runs, group, f"CIFAR-10, {size}", *_pair("cifar10", rival, size)) for size in SIZES],
        )
        for rival in ("avg", "max")
    ]


def fewer_parameters(runs: Runs, group: Group) -> list[Part]:
    """2. On Fashion-MNIST some SAN with fewer parameters in aggregator and head than flatten is not less accurate by
    the margin.

    Args:
        runs: all.
        group: preset and epochs.
    """
    flatten = cell(runs, group, one_size("fashion_mnist", "flatten", FLATTEN_ROW))
    contrasts = []
    for size in SIZES:
        san = cell(runs, group, one_size("fashion_mnist", "san", size))
        numbers = _parameters(san), _parameters(flatten)
        if None in numbers or numbers[0] < numbers[1]:  # type: ignore[operator]
            told = "" if None in numbers else f", {numbers[0]:,} against {numbers[1]:,} parameters"
            name = f"Fashion-MNIST, {size}: SAN less flatten{told}"
            contrasts.append(contrast(name, [(1, san, accuracy()), (-1, flatten, accuracy())], null=-MARGIN))
    return [Part("SAN with fewer parameters is as accurate as flatten", "any", contrasts)]


def overfitting(runs: Runs, group: Group) -> list[Part]:
    """3. Max-pooling and conv-1x1 have a larger gap between training and test accuracy after the last epoch than SAN;
    average pooling has a lower training accuracy, which is to underfit. On both data sets, at most sizes.

    Args:
        runs: all.
        group: preset and epochs.
    """
    places = [(data, size) for data in DATA for size in SIZES]
    parts = []
    for rival in ("max", "conv1x1"):
        contrasts = []
        for data, size in places:
            san, other = _cells(runs, group, *_pair(data, rival, size))
            name = f"{DATA[data]}, {size}: gap of {rival} less that of SAN"
            contrasts.append(contrast(name, [(1, other, gap), (-1, san, gap)]))
        parts.append(Part(f"{rival} overfits more than SAN", "most", contrasts))
    contrasts = []
    for data, size in places:
        san, avg = _cells(runs, group, *_pair(data, "avg", size))
        name = f"{DATA[data]}, {size}: training accuracy of SAN less that of avg"
        contrasts.append(contrast(name, [(1, san, train_accuracy), (-1, avg, train_accuracy)]))
    return [*parts, Part("avg underfits", "most", contrasts)]


def convergence(runs: Runs, group: Group) -> list[Part]:
    """4. SAN reaches 90 % test accuracy on Fashion-MNIST after fewer epochs than average pooling, at most sizes. Where
    no run of a size does, the level is the highest whole percent that all of them reach.

    Args:
        runs: all.
        group: preset and epochs.
    """
    contrasts = []
    for size in SIZES:
        san, avg = _cells(runs, group, *_pair("fashion_mnist", "avg", size))
        level = _level([*san.values(), *avg.values()])
        name = f"Fashion-MNIST, {size}: epochs of avg to {100 * level:.0f} % less those of SAN"
        contrasts.append(contrast(name, [(1, avg, epochs_to(level)), (-1, san, epochs_to(level))]))
    return [Part("SAN needs fewer epochs than avg", "most", contrasts)]


def dropout(runs: Runs, group: Group) -> list[Part]:
    """5. On CIFAR-10 dropout of 0.5 raises the accuracy of flatten, to one within the margin of that of SAN at 4096.

    Args:
        runs: all.
        group: preset and epochs.
    """
    plain, dropped = _cells(
        runs, group, *(one_size("cifar10", "flatten", FLATTEN_ROW, dropout=rate) for rate in (0.0, DROPOUT))
    )
    san = cell(runs, group, one_size("cifar10", "san", FLATTEN_ROW))
    less = "CIFAR-10: {} less {}".format
    flatten = "flatten with dropout"
    return [
        Part(
            "flatten with dropout is as accurate as SAN",
            "all",
            [
                contrast(less(flatten, "SAN"), [(1, dropped, accuracy()), (-1, san, accuracy())], null=-MARGIN),
                contrast(less("SAN", flatten), [(1, san, accuracy()), (-1, dropped, accuracy())], null=-MARGIN),
            ],
        ),
        Part(
            "dropout raises the accuracy of flatten",
            "all",
            [contrast(less(flatten, "flatten"), [(1, dropped, accuracy()), (-1, plain, accuracy())])],
        ),
    ]


def resolutions(runs: Runs, group: Group) -> list[Part]:
    """6. SAN is more accurate than max- and average pooling at almost every size of test images, but for the paper's
    own exceptions; and its lead, averaged over the sizes, is larger where it was trained at one size only. Validation
    images, which choose the weights, have all sizes.

    Args:
        runs: all.
        group: preset and epochs.
    """
    ahead, leads = [], []
    for data in DATA:
        for rival in ("max", "avg"):
            terms = []
            for train_sizes in TRAIN_SIZES:
                san, other = (cell(runs, group, several_sizes(data, name, train_sizes)) for name in ("san", rival))
                sign = 1 if train_sizes == "original" else -1
                terms += [(sign, san, mean_over_sizes), (-sign, other, mean_over_sizes)]
                for side in sides(data, [*san.values(), *other.values()]):
                    ours, theirs = (table3(data, train_sizes, side, name) for name in ("san", rival))
                    if ours is not None and theirs is not None and ours <= theirs:
                        continue  # where the paper's SAN is not ahead either
                    measure = accuracy_at(f"{side}x{side}")
                    name = f"{DATA[data]}, {side}x{side}, trained on {TRAIN_SIZES[train_sizes]}: SAN less {rival}"
                    ahead.append(contrast(name, [(1, san, measure), (-1, other, measure)]))
            name = f"{DATA[data]}: lead over {rival} when trained on one size, less that on all"
            leads.append(contrast(name, terms))
    return [
        Part("SAN is ahead at almost every resolution", "most", ahead, exceptions=0.1),
        Part("its lead is larger when trained at one resolution", "most", leads),
    ]


def residual_network(runs: Runs, group: Group) -> list[Part]:
    """7. ResNet-56 with SAN has a lower error on CIFAR-10 than the original network, and than most other aggregators.

    Args:
        runs: all.
        group: preset and epochs.
    """
    rivals = {
        name: _difference(runs, group, "ResNet-56", resnet("san"), resnet(name))
        for name in TABLE4_ERROR
        if name != "san"
    }
    original = rivals.pop("original")
    return [
        Part("SAN has a lower error than the original network", "all", [original]),
        Part("SAN has a lower error than the other aggregators", "most", list(rivals.values())),
    ]


ON_ACCURACY: Mapping[int, Callable[[Runs, Group], list[Part]]] = {
    1: global_pooling,
    2: fewer_parameters,
    3: overfitting,
    4: convergence,
    5: dropout,
    6: resolutions,
    7: residual_network,
}


def sides(data: str, runs: Runs) -> list[int]:
    """The sizes of test images that were measured, or those of Table 3 where there are none.

    Args:
        data: name of the data set.
        runs: of it.
    """
    measured = {int(size.split("x")[0]) for run in runs for size in run.test_accuracy_per_size.get("best", {})}
    return sorted(measured or {side for each, _, side in TABLE3 if each == data})


def _pair(data: str, rival: str, size: int) -> tuple[Wanted, Wanted]:
    return one_size(data, "san", size), one_size(data, rival, size)


def _cells(runs: Runs, group: Group, *wanted: Wanted) -> list[Cell]:
    return [cell(runs, group, each) for each in wanted]


def _difference(runs: Runs, group: Group, where: str, one: Wanted, other: Wanted) -> Contrast:
    first, second = _cells(runs, group, one, other)
    return contrast(f"{where}: SAN less {other['aggregator']}", [(1, first, accuracy()), (-1, second, accuracy())])


def _parameters(runs: Cell) -> int | None:
    """Of aggregator and head."""
    for run in runs.values():
        if {"aggregator", "head"} <= set(run.parameters):
            return run.parameters["aggregator"] + run.parameters["head"]
    return None


def _level(runs: Runs) -> float:
    tops = [max(row["test_accuracy"] for row in run.curves) for run in runs if run.curves]
    return _HIGH if not tops or max(tops) >= _HIGH else int(100 * min(tops)) / 100
