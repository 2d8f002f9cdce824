"""What W&B shows of an evaluation and keeps of a training, made from plain values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

_COLUMNS = ("Actual", "Predicted", "nPredictions")


def confusion_chart(confusion: np.ndarray, class_names: Sequence[str]) -> Any:
    """W&B's chart of a confusion matrix.

    Args:
        confusion: how many images of each class (rows) were taken for each class (columns).
        class_names: names of the classes.
    """
    import wandb

    pairs = np.ndindex(*confusion.shape)
    counts = [[class_names[truth], class_names[answer], int(confusion[truth, answer])] for truth, answer in pairs]
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(columns=list(_COLUMNS), data=counts),
        {column: column for column in _COLUMNS},
        {"title": "Confusion matrix"},
    )


def mistake_images(mistakes: Sequence[tuple[np.ndarray, str, str, float]]) -> list[Any]:
    """Images with what they show, what they were taken for, and the loss.

    Args:
        mistakes: pixels (H W C or H W, 0 to 255), class, answer and loss of each image.
    """
    import wandb

    # All of one size, or W&B warns that it will show them wrongly.
    h, w = (max((pixels.shape[axis] for pixels, *_ in mistakes), default=1) for axis in (0, 1))
    return [
        wandb.Image(
            Image.fromarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels).resize(
                (w, h), Resampling.NEAREST
            ),
            caption=f"{truth} taken for {answer}, loss {loss:.2f}",
        )
        for pixels, truth, answer, loss in mistakes
    ]


def checkpoint_artifact(name: str, path: str, metadata: Mapping[str, Any]) -> Any:
    """A checkpoint as W&B's artifact.

    Args:
        name: of the artifact.
        path: of the checkpoint, which has to stay there: it is not copied.
        metadata: what to say of it.
    """
    import wandb

    artifact = wandb.Artifact(name, type="model", metadata=dict(metadata))
    artifact.add_file(str(Path(path).absolute()), name="model.ckpt", policy="immutable")
    return artifact
