"""Programs as ``.pt2`` files, for ``torch.export.load``."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

USAGE = """
import torch

program = torch.export.load("{file}").module()
images = torch.zeros({shape}, dtype=torch.uint8)  # your images
logits = program(images)
"""


def write(program: ExportedProgram, file: Path, class_names: list[str]) -> None:
    """Write a program into one file."""
    content = io.BytesIO()  # written to a file, torch would hide the system's error on a full disk
    torch.export.save(program, content, extra_files={"class_names.json": json.dumps(class_names)})
    file.write_bytes(content.getbuffer())


def runner() -> str:
    """Return name and version of the program that runs the files."""
    return f"torch {torch.__version__}"


def read(file: Path) -> Callable[[Tensor], Tensor]:
    """Open a file."""
    content = io.BytesIO(file.read_bytes())  # torch takes other names than .pt2 for another format
    return torch.no_grad()(torch.export.load(content).module())
