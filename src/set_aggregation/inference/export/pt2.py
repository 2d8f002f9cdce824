"""Programs as ``.pt2`` files, which ``torch.export.load`` reads where there is torch."""

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
images = torch.zeros({shape}, dtype=torch.uint8)  # yours
logits = program(images)
"""


def write(program: ExportedProgram, file: Path, class_names: list[str]) -> None:
    """Writes a program into one file.

    Args:
        program: what to write.
        file: where to.
        class_names: what goes into its extra file ``class_names.json``.
    """
    content = io.BytesIO()  # of a file, torch would not say what the system says of a full disk
    torch.export.save(program, content, extra_files={"class_names.json": json.dumps(class_names)})
    file.write_bytes(content.getbuffer())


def runner() -> str:
    """What runs such files here."""
    return f"torch {torch.__version__}"


def read(file: Path) -> Callable[[Tensor], Tensor]:
    """Opens a file.

    Args:
        file: what :func:`write` wrote.
    """
    return torch.no_grad()(torch.export.load(file).module())
