"""Programs as ONNX files, for ONNX Runtime and others."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from set_aggregation._extras import needs
from set_aggregation.inference.export.program import smallest_size

_PURPOSE = "for ONNX files"
USAGE = """
import numpy, onnxruntime

session = onnxruntime.InferenceSession("{file}")
images = numpy.zeros({shape}, numpy.uint8)  # your images
(logits,) = session.run(["logits"], {{"images": images}})
"""


def write(program: ExportedProgram, file: Path, class_names: list[str]) -> None:
    """Write a program into one file, with input ``images`` and output ``logits``."""
    with needs("export", _PURPOSE):
        import onnxscript  # noqa: F401 - torch.onnx uses it

    names = {0: "batch"} if smallest_size(program) is None else {0: "batch", 2: "height", 3: "width"}
    try:
        converted = torch.onnx.export(
            program,
            dynamic_shapes=(names,),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    except Exception as error:  # torch raises exceptions of any class here
        raise ValueError(f"got a model that has no form in ONNX: {str(error).strip().splitlines()[0]}") from error
    assert converted is not None
    converted.model.metadata_props["class_names"] = json.dumps(class_names)
    converted.save(file, external_data=False)


def runner() -> str:
    """Return name and version of the program that runs the files."""
    return f"ONNX Runtime {version('onnxruntime')}"


def read(file: Path) -> Callable[[Tensor], Tensor]:
    """Open a file in ONNX Runtime, on the CPU."""
    with needs("export", _PURPOSE):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
