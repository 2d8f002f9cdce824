"""Programs as ONNX files, which ONNX Runtime and other programs run."""

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
images = numpy.zeros({shape}, numpy.uint8)  # yours
(logits,) = session.run(["logits"], {{"images": images}})
"""


def write(program: ExportedProgram, file: Path, class_names: list[str]) -> None:
    """Writes a program into one file, which names its input ``images`` and its output ``logits``.

    Args:
        program: what to write.
        file: where to.
        class_names: what goes into its metadata as ``class_names``, a JSON list.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ValueError: something in the program has no counterpart in ONNX.
    """
    with needs("export", _PURPOSE):
        import onnxscript  # noqa: F401 - what torch converts with

    names = {0: "batch"} if smallest_size(program) is None else {0: "batch", 2: "height", 3: "width"}
    try:
        converted = torch.onnx.export(
            program,
            dynamic_shapes=(names,),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    except Exception as error:  # what torch raises here is not limited to any class
        raise ValueError(f"got a model that has no form in ONNX: {str(error).strip().splitlines()[0]}") from error
    assert converted is not None
    converted.model.metadata_props["class_names"] = json.dumps(class_names)
    converted.save(file, external_data=False)


def runner() -> str:
    """What runs such files here."""
    return f"ONNX Runtime {version('onnxruntime')}"


def read(file: Path) -> Callable[[Tensor], Tensor]:
    """Opens a file in ONNX Runtime, on the CPU.

    Args:
        file: what :func:`write` wrote.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    with needs("export", _PURPOSE):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
