"""Export of a trained model as a program that runs without this package."""

import copy
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from set_aggregation._extras import needs
from set_aggregation.inference.classifier import ImageClassifier, model_card
from set_aggregation.inference.loading import find_file, load
from set_aggregation.pooling.trial import first_line
from set_aggregation.runs.files import atomic_write, warn

__all__ = ["export"]

_TOLERANCE = 1e-4  # relative to the largest logit, or to 1 if all are smaller
_SIDE = 64  # of example images, if the model has no size
_NEEDS_ONNX = ("export", "for ONNX files")
Shape = tuple[int, int, int, int]
Program = Callable[[Tensor], Tensor]


def export(ckpt_path: Path, format: Literal["onnx", "pt2"], output: Path | None = None) -> Path:  # noqa: A002
    """Write the model of a run as a file that runs without this package, with a model card beside it; return the file.

    The file takes bytes and gives logits; it divides by 255 and normalises itself. Before it gets its name it is
    compared with the model at three shapes of images, to 1e-4 of the largest logit (or of 1).

    Args:
        ckpt_path: A checkpoint, the folder of a run, or a .safetensors file.
        format: onnx, for ONNX Runtime and others; or pt2, for torch.export.load.
        output: The file to write; by default beside the weights, with the format as its suffix.

    Raises:
        ValueError: no such weights, a model that cannot be exported, or a file that does not agree with the model.
        MissingExtraError: a package is missing; the message names the extra that installs it.
    """
    if output is not None and not output.parent.is_dir():
        raise ValueError(f"got --output {output}, whose folder does not exist; create it, or give another file")
    model, kind = load(ckpt_path), FORMATS[format]
    output = find_file(ckpt_path).with_suffix(f".{format}") if output is None else output
    program = to_program(model)
    smallest, (height, width) = smallest_size(program), _example_size(model)
    shapes = three_shapes(model.in_channels, (height, width), smallest)
    with atomic_write(output) as temporary:
        kind.write(program, temporary, model.class_names)
        differences = compare(model, kind.read(temporary), shapes)
    sides = f"{height}, {width}" if smallest is None else "height, width"
    least = "" if smallest is None else f", from {smallest[0]}x{smallest[1]} pixels up"
    takes = f"bytes (uint8, 0 to 255) of shape (batch, {model.in_channels}, {sides}){least}"
    card = output.with_name(f"{output.name}.md")
    usage = kind.usage.format(file=output.name, shape=shapes[0])
    rows = {"agrees with PyTorch": "; ".join(differences)}
    card.write_text(model_card(model, usage, takes, rows))
    print(*(f"wrote {output}, which takes {takes}", *differences, f"wrote {card}"), sep="\n")  # noqa: T201
    return output


def to_program(model: ImageClassifier) -> ExportedProgram:
    """Export a model with the conversion of its images, for any number of images and, if possible, of any size."""
    # A copy with contiguous weights, as in files.
    model = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    height, width = _example_size(model)
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


def _example_size(model: ImageClassifier) -> tuple[int, int]:
    return model.image_size or (model.max_side or _SIDE, model.max_side or _SIDE)


def _trace(model: ImageClassifier, height: int, width: int, free: dict[int, Any]) -> ExportedProgram:
    images = torch.zeros(2, model.in_channels, height, width, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between parts of torch
            return torch.export.export(model, (images,), dynamic_shapes=({0: Dim("batch", min=1), **free},))
    except Exception as error:  # torch.export raises exceptions of any class
        parts = f"{type(model.network.backbone).__name__} and {type(model.network.aggregator).__name__}"
        raise ValueError(f"got a model of {parts}, which torch.export cannot trace: {first_line(error)}") from error


def three_shapes(in_channels: int, size: tuple[int, int], smallest: tuple[int, int] | None) -> list[Shape]:
    """Return the shapes to compare at: one image, and more images of other sizes if these are free."""
    if smallest is None:
        return [(num, in_channels, *size) for num in (1, 2, 5)]
    odd_and_oblong = (size[0] * 3 // 2 | 1, 2 * size[1])
    return [(1, in_channels, *size), (2, in_channels, *smallest), (3, in_channels, *odd_and_oblong)]


@torch.no_grad()
def compare(model: Program, program: Program, shapes: Sequence[Shape]) -> list[str]:
    """Return the largest difference of a program from its model on random images of each shape, if all are small."""
    generator, lines = torch.Generator().manual_seed(0), []
    for shape in shapes:
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        expected = model(images)
        try:
            found = program(images)
        except Exception as error:  # programs raise exceptions of any class for a wrong size
            raise ValueError(f"got a program that fails on images of shape {shape}: {first_line(error)}") from error
        largest, logit = float((found - expected).abs().max()), float(expected.abs().max())
        where = " x ".join(map(str, shape))
        lines.append(f"{where}: largest difference {largest:.1e} of logits up to {logit:.3g}")
        if not largest <= _TOLERANCE * max(1.0, logit):  # nor NaN
            raise ValueError(
                f"got a program with other outputs than the model ({lines[-1]}), expected at most {_TOLERANCE} of the "
                "largest; no file was written"
            )
    return lines


class Format(NamedTuple):
    """Functions that write and open a file, and lines of Python that run it."""

    write: Callable[[ExportedProgram, Path, list[str]], None]
    read: Callable[[Path], Program]
    usage: str


def smallest_size(program: ExportedProgram) -> tuple[int, int] | None:
    """Return the height and width from which a program takes images, None if they are fixed."""
    (name,) = program.graph_signature.user_inputs
    shape = next(node.meta["val"].shape for node in program.graph.nodes if node.name == name)
    if isinstance(shape[2], int):
        return None
    height, width = (int(program.range_constraints[side.node.expr].lower) for side in shape[2:])
    return height, width


def _write_onnx(program: ExportedProgram, file: Path, class_names: list[str]) -> None:
    with needs(*_NEEDS_ONNX):
        import onnxscript  # noqa: F401 - torch.onnx uses it

    names = {0: "batch"} if smallest_size(program) is None else {0: "batch", 2: "height", 3: "width"}
    try:
        converted = torch.onnx.export(
            program, dynamic_shapes=(names,), input_names=["images"], output_names=["logits"], verbose=False
        )
    except Exception as error:  # torch raises exceptions of any class here
        raise ValueError(f"got a model that has no form in ONNX: {first_line(error)}") from error
    assert converted is not None
    converted.model.metadata_props["class_names"] = json.dumps(class_names)
    converted.save(file, external_data=False)


def _read_onnx(file: Path) -> Program:
    with needs(*_NEEDS_ONNX):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _write_pt2(program: ExportedProgram, file: Path, class_names: list[str]) -> None:
    content = io.BytesIO()  # written to a file, torch would hide the system's error on a full disk
    torch.export.save(program, content, extra_files={"class_names.json": json.dumps(class_names)})
    file.write_bytes(content.getbuffer())


def _read_pt2(file: Path) -> Program:
    content = io.BytesIO(file.read_bytes())  # torch takes other names than .pt2 for another format
    return torch.no_grad()(torch.export.load(content).module())


_RUN_ONNX = """
import numpy, onnxruntime

session = onnxruntime.InferenceSession("{file}")
images = numpy.zeros({shape}, numpy.uint8)  # your images
(logits,) = session.run(["logits"], {{"images": images}})
"""
_RUN_PT2 = """
import torch

program = torch.export.load("{file}").module()
images = torch.zeros({shape}, dtype=torch.uint8)  # your images
logits = program(images)
"""
FORMATS = {
    "onnx": Format(_write_onnx, _read_onnx, _RUN_ONNX),
    "pt2": Format(_write_pt2, _read_pt2, _RUN_PT2),
}
