"""W&B media of an evaluation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

# Pixels (H W C or H W, 0 to 255), class, prediction, loss and index in the test set.
Misclassification = tuple[np.ndarray, str, str, float, int]


def confusion_chart(confusion: np.ndarray, class_names: Sequence[str]) -> Any:
    """Return W&B's chart of a confusion matrix."""
    import wandb

    truth, predictions = np.indices(confusion.shape).reshape(2, -1).repeat(confusion.ravel(), axis=1).tolist()
    names = [*class_names]
    return wandb.plot.confusion_matrix(y_true=truth, preds=predictions, class_names=names, title="Confusion matrix")


def evaluation_media(
    confusion: np.ndarray, class_names: Sequence[str], misclassifications: Sequence[Misclassification]
) -> dict[str, Any]:
    """Return the numbers of images of each class (rows) with each prediction (columns), and misclassifications."""
    import wandb

    # W&B distorts images of several sizes.
    w, h = (max((pixels.shape[axis] for pixels, *_ in misclassifications), default=1) for axis in (1, 0))
    images = [
        wandb.Image(
            Image.fromarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels).resize(
                (w, h), Resampling.NEAREST
            ),
            caption=f"{truth} classified as {prediction}, loss {loss:.2f}",
        )
        for pixels, truth, prediction, loss, _ in misclassifications
    ]
    return {"test/confusion_matrix": confusion_chart(confusion, class_names), "test/worst_misclassifications": images}
