"""The words and numbers of the figure of many runs."""

from collections.abc import Sequence

import numpy as np

from set_aggregation.reports.comparison import Comparison
from set_aggregation.reports.finished_run import Run
from set_aggregation.reports.panel import common_epochs

_DRAWN = (
    "Accuracy on training images (blue) and on test images (red) in evaluation mode, and the gap between them (grey)."
)
_LAST = "Above each panel: gap and test accuracy after the last epoch"


def panel_numbers(runs: Sequence[Run], with_num: bool) -> str:
    """What stands above a panel: gap and test accuracy after the last epoch that all seeds have, mean over them.

    Args:
        runs: the seeds.
        with_num: whether to say how many they are.
    """
    words = []
    if epochs := common_epochs([run.history for run in runs]):
        last = [row for run in runs for row in run.history if row["epoch"] == epochs[-1]]
        test = np.mean([row["curve/test_accuracy"] for row in last])
        train = np.mean([row["curve/train_accuracy"] for row in last])
        words += [f"gap {train - test:.3f}", f"test {test:.3f}"]
    else:
        words.append("no epoch in common")
    if with_num:
        words.append(f"n = {len(runs)}{'*' if _is_cut(runs) else ''}")
    return ", ".join(words)


def note(comparison: Comparison) -> str:
    """What lines, bands and numbers of the figure are.

    Args:
        comparison: the runs that are drawn.
    """
    panels = [runs for row in comparison.rows for runs in row.cells.values()]
    if max(len(runs) for runs in panels) == 1:
        return f"{_DRAWN} {_LAST}. One run each."
    text = f"{_DRAWN} Lines: mean over n seeds; bands: lowest to highest. {_LAST}, means over the seeds."
    if any(_is_cut(runs) for runs in panels):
        text += " * The seeds were not measured after the same epochs; drawn are those that all have."
    return text


def _is_cut(runs: Sequence[Run]) -> bool:
    """Whether some seeds have epochs that others lack."""
    return len({tuple(row["epoch"] for row in run.history) for run in runs}) > 1
