"""The results of a finished run, for programs to read."""

import json
from pathlib import Path
from typing import Any

from set_aggregation.runs.checkpoint import read_checkpoint
from set_aggregation.runs.files import atomic_write


def best_epoch(checkpoint: Path, keeper: str) -> tuple[int, float]:
    """Return the number of epochs after which a checkpoint was written, and its score.

    The file counts, not the callback: a better checkpoint may have failed to be written.
    """
    saved = read_checkpoint(checkpoint)
    return int(saved["epoch"]) + 1, float(saved["callbacks"][keeper]["best_model_score"])


def write_results(file: Path, results: dict[str, Any]) -> None:
    """Write the results atomically."""
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
