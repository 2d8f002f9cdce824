"""A misclassified image."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class MisclassifiedImage:
    """An image with its class and its prediction.

    Args:
        pixels: the image, uint8 of shape (H, W, C).
        truth: name of its class.
        prediction: name of the predicted class.
        loss: its cross-entropy in nats.
        index: its number in the test set.
    """

    pixels: NDArray[np.uint8]
    truth: str
    prediction: str
    loss: float
    index: int

    @property
    def png(self) -> str:
        """The image as a data URL."""
        file = io.BytesIO()
        Image.fromarray(self.pixels.squeeze(2) if self.pixels.shape[2] == 1 else self.pixels).save(file, "png")
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
