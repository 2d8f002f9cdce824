"""Export of a trained model as a program that runs without this package."""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch.export import Dim, ExportedProgram

from set_aggregation.inference.classifier import ImageClassifier
from set_aggregation.inference.formats import FORMATS, Program, smallest_size
from set_aggregation.inference.loading import find_file, load
from set_aggregation.inference.model_card import model_card, speed_rows
from set_aggregation.runs.files import atomic_write, warn

__all__ = ["export"]

_TOLERANCE = 1e-4  # relative to the largest logit, or to 1 if all are smaller
Shape = tuple[int, int, int, int]


def export(ckpt_path: Path, format: Literal["onnx", "pt2"], output: Path | None = None) -> Path:  # noqa: A002
    """Write the model of a run as a file that runs without this package, with a model card beside it.

    The file takes bytes and gives logits; it divides by 255 and normalises itself. Before it gets its name it is
    compared with the model at three shapes of images, to 1e-4 of the largest logit (or of 1).

    Args:
        ckpt_path: A checkpoint, the folder of a run, or a .safetensors file.
        format: onnx, for ONNX Runtime and others; or pt2, for torch.export.load.
        output: The file to write; by default beside the weights, with the format as its suffix.

    Returns:
        The file.

    Raises:
        ValueError: no such weights, a model that cannot be exported, or a file that does not agree with the model.
        MissingExtraError: a package is missing; the message names the extra that installs it.
    """
    if output is not None and not output.parent.is_dir():
        raise ValueError(f"got --output {output}, whose folder does not exist; create it, or give another file")
    model = load(ckpt_path)
    output = find_file(ckpt_path).with_suffix(f".{format}") if output is None else output
    kind = FORMATS[format]
    program = to_program(model)
    smallest = smallest_size(program)
    height, width = model.example_size
    with atomic_write(output) as temporary:
        kind.write(program, temporary, model.class_names)
        run = kind.read(temporary)
        differences = compare(model, run, three_shapes(model.in_channels, (height, width), smallest))
        if wrong := [difference for difference in differences if not difference.is_small]:
            raise ValueError(
                f"got {output.name} with other outputs than the model ({wrong[0]}), expected at most {_TOLERANCE} of "
                "the largest; the file was removed"
            )
        speed = speed_rows(run, (model.in_channels, height, width), kind.runner)
    sides = f"{height}, {width}" if smallest is None else "height, width"
    least = "" if smallest is None else f", from {smallest[0]}x{smallest[1]} pixels up"
    takes = f"bytes (uint8, 0 to 255) of shape (batch, {model.in_channels}, {sides}){least}"
    lines = [str(difference) for difference in differences]
    card = output.with_name(f"{output.name}.md")
    usage = kind.usage.format(file=output.name, shape=differences[0].shape)
    measured = {**speed, "agrees with PyTorch": "; ".join(lines)}
    card.write_text(model_card(model.network, model.config, usage, takes, measured))
    print(*(f"wrote {output}, which takes {takes}", *lines, f"wrote {card}"), sep="\n")  # noqa: T201
    return output


def to_program(model: ImageClassifier) -> ExportedProgram:
    """Export a model with the conversion of its images, for any number of images.

    Height and width are free too, unless the aggregator takes sets of one size or the backbone images of one size; then
    they are ``image_size``. Where torch.export fixes them, a warning names the reason.
    """
    # A copy with contiguous weights, as in files.
    model = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    height, width = model.example_size
    if not model.network.aggregator.any_set_size:
        return _trace(model, height, width, {})
    try:
        # Two different sides: torch.export might take equal ones for one number.
        return _trace(model, height, width + 4, {2: Dim.DYNAMIC, 3: Dim.DYNAMIC})
    except ValueError as error:
        if model.image_size is None:
            raise
        warn(f"height and width are fixed at {height}x{width}: {error}")
        return _trace(model, height, width, {})


def _trace(model: ImageClassifier, height: int, width: int, free: dict[int, Any]) -> ExportedProgram:
    images = torch.zeros(2, model.in_channels, height, width, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between parts of torch
            return torch.export.export(model, (images,), dynamic_shapes=({0: Dim("batch", min=1), **free},))
    except Exception as error:  # torch.export raises exceptions of any class
        parts = f"{type(model.network.backbone).__name__} and {type(model.network.aggregator).__name__}"
        raise ValueError(f"got a model of {parts}, which torch.export cannot trace: {_first_line(error)}") from error


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
        return self.largest <= _TOLERANCE * max(1.0, self.largest_logit)


def three_shapes(in_channels: int, size: tuple[int, int], smallest: tuple[int, int] | None) -> list[Shape]:
    """Return the shapes to compare at: one image, and more images of other sizes if these are free."""
    if smallest is None:
        return [(num, in_channels, *size) for num in (1, 2, 5)]
    odd_and_oblong = (size[0] * 3 // 2 | 1, 2 * size[1])
    return [(1, in_channels, *size), (2, in_channels, *smallest), (3, in_channels, *odd_and_oblong)]


@torch.no_grad()
def compare(model: Program, program: Program, shapes: Sequence[Shape]) -> list[Difference]:
    """Run a model and a program on random images."""
    generator, differences = torch.Generator().manual_seed(0), []
    for shape in shapes:
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        expected = model(images)
        try:
            found = program(images)
        except Exception as error:  # programs raise exceptions of any class for a wrong size
            raise ValueError(f"got a program that fails on images of shape {shape}: {_first_line(error)}") from error
        differences.append(Difference(shape, float((found - expected).abs().max()), float(expected.abs().max())))
    return differences


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
