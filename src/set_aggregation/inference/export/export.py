"""The command that writes a trained model as a program, makes sure of it, and says on a card what it is."""

import os
from pathlib import Path
from types import ModuleType
from typing import Literal

from set_aggregation.inference.classifier import ImageClassifier
from set_aggregation.inference.export import onnx as onnx_file
from set_aggregation.inference.export import pt2 as pt2_file
from set_aggregation.inference.export.parity import TOLERANCE, compare, three_shapes
from set_aggregation.inference.export.program import smallest_size, to_program
from set_aggregation.inference.loading import find_file, load
from set_aggregation.inference.model_card import card
from set_aggregation.inference.speed import speed_rows

_FORMATS: dict[str, ModuleType] = {"onnx": onnx_file, "pt2": pt2_file}


def export(ckpt_path: Path, format: Literal["onnx", "pt2"], output: Path | None = None) -> Path:  # noqa: A002
    """Writes the model of a run as a file that runs without this package.

    The file takes bytes and gives logits; division by 255 and normalisation are in it. It gets its name only when it
    has computed what the model computes, at three shapes of images, up to 1e-4 of the largest logit (or of 1). A card
    is written beside it.

    Args:
        ckpt_path: A checkpoint, the folder of a run, or a .safetensors file.
        format: onnx, for ONNX Runtime and others; or pt2, for torch.export.load, where there is torch.
        output: The file to write; by default beside the weights, with the format as its suffix.

    Returns:
        The file.

    Raises:
        ValueError: no such weights, a model that cannot be exported, or a file that computes something else.
        MissingExtraError: a package is missing, which the extra that is named brings.
    """
    if output is not None and not output.parent.is_dir():
        raise ValueError(f"got --output {output}, whose folder is not there; make it, or give another file")
    model = load(ckpt_path)
    output = find_file(ckpt_path).with_suffix(f".{format}") if output is None else output
    unfinished = output.with_name(f".unfinished.{output.name}")
    kind = _FORMATS[format]
    program = to_program(model)
    smallest = smallest_size(program)
    try:
        kind.write(program, unfinished, model.class_names)
        run = kind.read(unfinished)
        differences = compare(model, run, three_shapes(model.in_channels, model.example_size, smallest))
        if wrong := [difference for difference in differences if not difference.is_small]:
            raise ValueError(
                f"got {output.name} that computes something else than the model ({wrong[0]}), expected at most "
                f"{TOLERANCE} of the largest; it was not kept"
            )
        speed = speed_rows(model, run, kind.runner())
        os.replace(unfinished, output)  # noqa: PTH105
    finally:
        unfinished.unlink(missing_ok=True)
    lines = [str(difference) for difference in differences]
    takes = _takes(model, smallest)
    beside = output.with_name(f"{output.name}.md")
    usage = kind.USAGE.format(file=output.name, shape=differences[0].shape)
    beside.write_text(card(model, usage, takes, {**speed, "agrees with PyTorch": "; ".join(lines)}))
    print(*(f"wrote {output}, which takes {takes}", *lines, f"wrote {beside}"), sep="\n")  # noqa: T201
    return output


def _takes(model: ImageClassifier, smallest: tuple[int, int] | None) -> str:
    height, width = model.example_size if smallest is None else ("height", "width")
    least = "" if smallest is None else f", from {smallest[0]}x{smallest[1]} pixels up"
    return f"bytes (uint8, 0 to 255) of shape (batch, {model.in_channels}, {height}, {width}){least}"
