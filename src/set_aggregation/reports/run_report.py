"""The self-contained page of a finished run: ``report.html``."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from set_aggregation.reports.curves import run_figure
from set_aggregation.reports.rendering import render, svg
from set_aggregation.reports.summary import accuracy_by_size
from set_aggregation.runs.files import atomic_write

_MOST_CLASSES = 30  # in a table; with more classes, the most frequent confusions are listed
_NUM_PAIRS = 30


class MisclassifiedImage(NamedTuple):
    """An image with its class and its prediction."""

    pixels: NDArray[np.uint8]  # H W C
    truth: str  # name of its class
    prediction: str  # name of the predicted class
    loss: float  # its cross-entropy in nats
    number: int  # its number in the test set

    @property
    def png(self) -> str:
        """The image as a data URL."""
        file = io.BytesIO()
        Image.fromarray(self.pixels.squeeze(2) if self.pixels.shape[2] == 1 else self.pixels).save(file, "png")
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def write_report(
    file: Path,
    results: Mapping[str, Any],
    rows: Mapping[str, str],
    class_names: Sequence[str],
    confusion: NDArray[np.int64],
    misclassifications: Sequence[MisclassifiedImage],
    config: str,
) -> None:
    """Write the page of a run."""
    history = results["curves"]
    sizes = accuracy_by_size(results["metrics"])
    content = render(
        "set_aggregation.reports",
        "run_report.html.jinja",
        results=results,
        rows=rows,
        curves=svg(lambda: run_figure(history), "learning curves") if history else None,
        sizes=sizes,
        size_curve=svg(lambda: _size_figure(sizes), "test accuracy by size") if sizes else None,
        class_names=class_names,
        confusion=confusion.tolist(),
        shares=(confusion / np.maximum(confusion.sum(1, keepdims=True), 1)).tolist(),
        pairs=_most_confused(confusion, class_names) if len(confusion) > _MOST_CLASSES else None,
        misclassifications=misclassifications,
        config=config,
    )
    with atomic_write(file) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _most_confused(confusion: NDArray[np.int64], class_names: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """Return class, prediction, number of such images, and number of images of the class."""
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:_NUM_PAIRS].tolist()
    pairs = [(i, j) for i, j in (divmod(each, len(confusion)) for each in order) if wrong[i, j]]
    return [(class_names[i], class_names[j], int(wrong[i, j]), int(confusion[i].sum())) for i, j in pairs]


def _size_figure(sizes: Mapping[str, float]) -> Figure:
    figure = Figure(figsize=(max(5.0, 0.9 * len(sizes)), 3), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(list(sizes), list(sizes.values()), color="tab:red", width=0.6)
    axes.bar_label(bars, fmt="%.3f")
    axes.set(xlabel="height x width (pixels)", ylabel="test accuracy", ylim=(0, 1.1 * max(sizes.values())))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
