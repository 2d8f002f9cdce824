"""The model as torch.export's program, for batches of any size and, where it can be, images of any size."""

import copy
import warnings
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from set_aggregation.inference.classifier import ImageClassifier


def to_program(model: ImageClassifier) -> ExportedProgram:
    """Exports a model that takes images as bytes; their conversion is part of the program.

    The number of images is free. Height and width are, too, unless the aggregator takes sets of one size or the
    backbone images of one size (or torch.export takes it for one, of which it warns); they then are ``image_size``.

    Args:
        model: what to export.

    Raises:
        ValueError: torch.export cannot follow what the model does.
    """
    # A copy, of which weights in channels_last format are laid out as files have them.
    model = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    height, width = model.example_size
    if not model.network.aggregator.any_set_size:
        return _export(model, height, width, {})
    try:
        # Two different sides, or they might be taken for one and the same number.
        return _export(model, height, width + 4, {2: Dim.DYNAMIC, 3: Dim.DYNAMIC})
    except ValueError as error:
        if model.image_size is None:
            raise
        # Of no line of the code, which would be shown too.
        warnings.warn(f"height and width are fixed at {height}x{width}: {error}", stacklevel=1000)
        return _export(model, height, width, {})


def smallest_size(program: ExportedProgram) -> tuple[int, int] | None:
    """Height and width of the smallest images that a program is sure to take, None where they are not free.

    Args:
        program: of :func:`to_program`.
    """
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
    except Exception as error:  # what torch raises on what it cannot follow is not limited to any class
        network = model.network
        parts = f"{type(network.backbone).__name__} and {type(network.aggregator).__name__}"
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"got a model of {parts}, which torch.export cannot follow: {reason}") from error
