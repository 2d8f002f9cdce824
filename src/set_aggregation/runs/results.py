"""What a finished run leaves for programs to read: ``results.json``."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from set_aggregation.data import ImageDataModule
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs.environment import environment_with, processor


def labels(model: SetClassifier, data: ImageDataModule) -> dict[str, Any]:
    """What tells runs apart: aggregator, data, width and seed.

    The width is what the paper calls the size: the number of inputs of the last dense layer, which is M for a SAN
    without a hidden layer behind it, and the size of the hidden layer for a network that has one.

    Args:
        model: the model of the run.
        data: its data module.
    """
    return {
        "aggregator": type(model.aggregator).__name__,
        "data": data.title,
        "width": model.head.width,
        "seed": torch.initial_seed(),
    }


def parameters(model: SetClassifier) -> dict[str, int]:
    """The number of parameters of each part of a model."""
    parts = {"backbone": model.backbone, "aggregator": model.aggregator, "head": model.head}
    counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}
    return {**counts, "all": sum(weight.numel() for weight in model.parameters())}


def environment(trainer: Trainer) -> dict[str, str]:
    """Where and with what a run was made: command, commit, machine and versions.

    Args:
        trainer: that of the run.
    """
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {processor()}"
    devices = f"{trainer.world_size} x {name}, {torch.get_num_threads()} threads, precision {trainer.precision}"
    return environment_with(devices)


def best_epoch(checkpoint: Path, keeper: str) -> tuple[int, float]:
    """The number of epochs after which a checkpoint was made, and what its weights reached. A better one may have
    come that could not be written.

    Args:
        checkpoint: one of Lightning's.
        keeper: name in it of the ModelCheckpoint that wrote it.
    """
    saved = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    return int(saved["epoch"]) + 1, float(saved["callbacks"][keeper]["best_model_score"])


def write_results(file: Path, results: dict[str, Any]) -> None:
    """Writes the results at once: a reader finds all of them or no file.

    Args:
        file: ``results.json`` in the folder of the run.
        results: what to write.
    """
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(unfinished, file)  # noqa: PTH105
