"""The export command: write a model as a program, verify it, and write its model card."""

from pathlib import Path
from types import ModuleType
from typing import Literal

from set_aggregation.inference.export import onnx, pt2
from set_aggregation.inference.export.parity import TOLERANCE, compare, three_shapes
from set_aggregation.inference.export.program import smallest_size, to_program
from set_aggregation.inference.loading import find_file, load
from set_aggregation.inference.speed import speed_rows
from set_aggregation.runs.files import atomic_write

_FORMATS: dict[str, ModuleType] = {"onnx": onnx, "pt2": pt2}


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
    kind = _FORMATS[format]
    program = to_program(model)
    smallest = smallest_size(program)
    height, width = model.example_size
    with atomic_write(output) as temporary:
        kind.write(program, temporary, model.class_names)
        run = kind.read(temporary)
        differences = compare(model, run, three_shapes(model.in_channels, (height, width), smallest))
        if wrong := [difference for difference in differences if not difference.is_small]:
            raise ValueError(
                f"got {output.name} with other outputs than the model ({wrong[0]}), expected at most {TOLERANCE} of "
                "the largest; the file was removed"
            )
        speed = speed_rows(run, (model.in_channels, height, width), kind.runner())
    sides = f"{height}, {width}" if smallest is None else "height, width"
    least = "" if smallest is None else f", from {smallest[0]}x{smallest[1]} pixels up"
    takes = f"bytes (uint8, 0 to 255) of shape (batch, {model.in_channels}, {sides}){least}"
    lines = [str(difference) for difference in differences]
    card = output.with_name(f"{output.name}.md")
    usage = kind.USAGE.format(file=output.name, shape=differences[0].shape)
    card.write_text(model.card(usage, takes, {**speed, "agrees with PyTorch": "; ".join(lines)}))
    print(*(f"wrote {output}, which takes {takes}", *lines, f"wrote {card}"), sep="\n")  # noqa: T201
    return output
