"""The table that says most in least room: each aggregator on each kind of images, the paper's numbers above ours."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from reproduction.cells import MULTIRES_SIZE, TRAIN_SIZES, Wanted, cell, groups, one_size, several_sizes
from reproduction.contrast import Measure, accuracy, contrast, mean_over_sizes
from reproduction.published import (
    DATA,
    FLATTEN_ROW,
    FLATTEN_SIZE,
    NAMES,
    TABLE3,
    TABLE3_AGGREGATORS,
    table2,
)
from reproduction.reading import FinishedRun
from reproduction.tables import NOT_RUN, NOTHING, SINGLE, Table, interval

_SIZE = MULTIRES_SIZE
_AGGREGATORS = ("avg", "max", "conv1x1", "flatten", "san")
_NOTE = (
    f"Test accuracy; the layer before the last dense one has {_SIZE} outputs, that of flatten its own {FLATTEN_SIZE}. "
    "Of five sizes it is the mean over them. ± is half of a 95 % interval over the seeds; "
    f"{SINGLE} stands where there is one seed: that of the test images. The paper's runs are single."
)


class _Images(NamedTuple):
    """Images on which aggregators are compared.

    Args:
        title: what they are.
        measure: what is compared.
        wanted: the settings of each aggregator that the paper has there.
        paper: its numbers.
    """

    title: str
    measure: Measure
    wanted: Mapping[str, Wanted]
    paper: Mapping[str, float | None]


def overview(runs: Sequence[FinishedRun]) -> Table:
    """Test accuracy at one size of the aggregation layer, in each preset and number of epochs that was run.

    Args:
        runs: all.
    """
    rows: list[tuple[str, ...]] = []
    for images in _all_images():
        paper = {name: f"{value:.3f}" for name, value in images.paper.items() if value is not None}
        rows.append((images.title, "paper", *_row(paper)))
        ours = []
        for group in groups(runs):
            cells = {name: cell(runs, group, wanted) for name, wanted in images.wanted.items()}
            if any(cells.values()):
                found = {
                    name: interval(contrast("", [(1, of_it, images.measure)]), digits=3)
                    for name, of_it in cells.items()
                }
                ours.append(("", f"ours, {group.title}", *_row(found)))
        rows += ours or [("", "ours", *_row(dict.fromkeys(images.wanted, NOT_RUN)))]
    return Table("Accuracy", ("images", "", *(NAMES[name] for name in _AGGREGATORS)), tuple(rows), 2, _NOTE)


def _row(values: Mapping[str, str]) -> Iterator[str]:
    return (values.get(name, NOTHING) for name in _AGGREGATORS)


def _all_images() -> Iterator[_Images]:
    for data, title in DATA.items():
        row_of = {name: FLATTEN_ROW if name == "flatten" else _SIZE for name in _AGGREGATORS}
        yield _Images(
            title,
            accuracy(),
            {name: one_size(data, name, row) for name, row in row_of.items()},
            {name: table2(data, name, row) for name, row in row_of.items()},
        )
    for data, title in DATA.items():
        for train_sizes, words in TRAIN_SIZES.items():
            published = [row for (*which, _), row in TABLE3.items() if which == [data, train_sizes]]
            yield _Images(
                f"{title}, five sizes, trained on {words}",
                mean_over_sizes,
                {name: several_sizes(data, name, train_sizes) for name in TABLE3_AGGREGATORS},
                {
                    name: fmean(of_it)
                    for name, of_it in zip(TABLE3_AGGREGATORS, zip(*published, strict=True), strict=True)
                },
            )
