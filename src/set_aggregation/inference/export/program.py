"""Programs of ``torch.export``, for batches of any size and, if possible, images of any size."""

import copy
import warnings
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from set_aggregation.inference.classifier import ImageClassifier
from set_aggregation.runs.files import warn


def to_program(model: ImageClassifier) -> ExportedProgram:
    """Export a model with the conversion of its images, which are bytes.

    The number of images is free. Height and width are free too, unless the aggregator takes sets of one size or the
    backbone images of one size; then they are ``image_size``. Where torch.export
    fixes them, a warning names the reason.
    """
    # A copy with contiguous weights, as in files.
    model = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    height, width = model.example_size
    if not model.network.aggregator.any_set_size:
        return _export(model, height, width, {})
    try:
        # Two different sides: torch.export might take equal ones for one number.
        return _export(model, height, width + 4, {2: Dim.DYNAMIC, 3: Dim.DYNAMIC})
    except ValueError as error:
        if model.image_size is None:
            raise
        warn(f"height and width are fixed at {height}x{width}: {error}")
        return _export(model, height, width, {})


def smallest_size(program: ExportedProgram) -> tuple[int, int] | None:
    """Return the height and width from which a program takes images, None if they are fixed."""
    (name,) = program.graph_signature.user_inputs
    shape = next(node.meta["val"].shape for node in program.graph.nodes if node.name == name)
    if isinstance(shape[2], int):
        return None
    height, width = (int(program.range_constraints[side.node.expr].lower) for side in shape[2:])
    return height, width


def _export(model: ImageClassifier, height: int, width: int, free: dict[int, Any]) -> ExportedProgram:
    images = torch.zeros(2, model.in_channels, height, width, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between parts of torch
            return torch.export.export(model, (images,), dynamic_shapes=({0: Dim("batch", min=1), **free},))
    except Exception as error:  # torch.export raises exceptions of any class
        network = model.network
        parts = f"{type(network.backbone).__name__} and {type(network.aggregator).__name__}"
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"got a model of {parts}, which torch.export cannot trace: {reason}") from error
