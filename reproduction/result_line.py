"""What a finished run leaves in its folder, as a line of ``results/``."""

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from reproduction.settings import Settings

_ACCURACY = "test/accuracy"
_CURVES = "curve/"


def result_line(settings: Settings, folder: Path) -> dict[str, Any]:
    """Reads what a run has measured.

    Args:
        settings: of the run.
        folder: of the run, which has finished.
    """
    file = folder / "results.json"
    results = json.loads(file.read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    weights = {"best": results["metrics"], "last": results["last"]}
    return {
        "settings": settings.as_dict(),
        "split": config["data"]["init_args"].get("split", "paper"),  # the digits have no other
        "test_accuracy": {name: metrics[_ACCURACY] for name, metrics in weights.items()},
        "test_accuracy_per_size": _per_size(weights),
        "val_accuracy": {"best": results["best"]["val/accuracy"], "last": results["last"]["val/accuracy"]},
        "best_epoch": results["best"]["epoch"],
        "curves": [{name.removeprefix(_CURVES): value for name, value in row.items()} for row in results["curves"]],
        "parameters": results["parameters"],
        "seconds": results["seconds"]["all"],
        "finished": f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "environment": {**results["environment"], "command": _command(results["environment"]["command"])},
    }


def _per_size(weights: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    sizes = {name: _sizes(metrics) for name, metrics in weights.items()}
    return sizes if sizes["best"] else {}


def _sizes(metrics: Mapping[str, float]) -> dict[str, float]:
    start = f"{_ACCURACY}/"
    return {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}


def _command(command: str) -> str:
    """The command without the folder that one machine has kept the runs in."""
    return shlex.join(word for word in shlex.split(command) if not word.startswith("--run.root="))
