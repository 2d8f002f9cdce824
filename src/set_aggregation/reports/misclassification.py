"""A misclassified image."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class MisclassifiedImage:
    """An image with its class and its prediction."""

    pixels: NDArray[np.uint8]  # H W C
    truth: str  # name of its class
    prediction: str  # name of the predicted class
    loss: float  # its cross-entropy in nats
    index: int  # its number in the test set

    @property
    def png(self) -> str:
        """The image as a data URL."""
        file = io.BytesIO()
        Image.fromarray(self.pixels.squeeze(2) if self.pixels.shape[2] == 1 else self.pixels).save(file, "png")
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
