"""Comparison of a written program with the model."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Shape = tuple[int, int, int, int]

TOLERANCE = 1e-4  # relative to the largest logit, or to 1 if all are smaller


class Difference(NamedTuple):
    """Largest difference of two programs on images of one shape."""

    shape: Shape
    largest: float
    largest_logit: float

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"{shape}: largest difference {self.largest:.1e} of logits up to {self.largest_logit:.3g}"

    @property
    def is_small(self) -> bool:
        """True if the difference is within the tolerance; NaN is not."""
        return self.largest <= TOLERANCE * max(1.0, self.largest_logit)


def three_shapes(in_channels: int, size: tuple[int, int], smallest: tuple[int, int] | None) -> list[Shape]:
    """Return the shapes to compare at: one image, and more images of other sizes if these are free.

    Example:
        >>> three_shapes(3, (32, 32), smallest=(5, 5))
        [(1, 3, 32, 32), (2, 3, 5, 5), (3, 3, 49, 64)]
        >>> three_shapes(3, (32, 32), smallest=None)
        [(1, 3, 32, 32), (2, 3, 32, 32), (5, 3, 32, 32)]
    """
    height, width = size
    if smallest is None:
        return [(num, in_channels, height, width) for num in (1, 2, 5)]
    odd_and_oblong = (height * 3 // 2 | 1, 2 * width)
    return [(1, in_channels, *size), (2, in_channels, *smallest), (3, in_channels, *odd_and_oblong)]


def compare(
    model: Callable[[Tensor], Tensor], program: Callable[[Tensor], Tensor], shapes: Sequence[Shape]
) -> list[Difference]:
    """Run a model and a program on random images."""
    generator, differences = torch.Generator().manual_seed(0), []
    for shape in shapes:
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            expected = model(images)
            largest = float((_run(program, images) - expected).abs().max())
        differences.append(Difference(shape, largest, float(expected.abs().max())))
    return differences


def _run(program: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    try:
        return program(images)
    except Exception as error:  # programs raise exceptions of any class for a wrong size
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"got a program that fails on images of shape {tuple(images.shape)}: {reason}") from error
