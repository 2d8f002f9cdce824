"""W&B media of an evaluation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

# Pixels (H W C or H W, 0 to 255), class, prediction, loss and index in the test set.
Misclassification = tuple[np.ndarray, str, str, float, int]
_COLUMNS = ("Actual", "Predicted", "nPredictions")


def confusion_chart(confusion: np.ndarray, class_names: Sequence[str]) -> Any:
    """Return W&B's chart of a confusion matrix."""
    import wandb

    counts = [[class_names[i], class_names[j], int(confusion[i, j])] for i, j in np.ndindex(*confusion.shape)]
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(columns=list(_COLUMNS), data=counts),
        {column: column for column in _COLUMNS},
        {"title": "Confusion matrix"},
    )


def misclassification_images(misclassifications: Sequence[Misclassification]) -> list[Any]:
    """Return W&B's images of misclassifications, with class, prediction and loss as captions."""
    import wandb

    # W&B distorts images of several sizes.
    h, w = (max((pixels.shape[axis] for pixels, *_ in misclassifications), default=1) for axis in (0, 1))
    return [
        wandb.Image(
            Image.fromarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels).resize(
                (w, h), Resampling.NEAREST
            ),
            caption=f"{truth} classified as {prediction}, loss {loss:.2f}",
        )
        for pixels, truth, prediction, loss, _ in misclassifications
    ]
