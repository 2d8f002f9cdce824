"""File formats of exported programs: ONNX and ``.pt2``."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from set_aggregation._extras import needs
from set_aggregation.pooling.trial import first_line

Program = Callable[[Tensor], Tensor]
_NEEDS_ONNX = ("export", "for ONNX files")


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
