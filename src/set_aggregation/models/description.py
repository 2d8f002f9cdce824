"""Description of a model: labels of its run, and numbers of parameters."""

from typing import Any

import torch

from set_aggregation.data import ImageDataModule
from set_aggregation.models.classifier import SetClassifier


def labels(model: SetClassifier, data: ImageDataModule) -> dict[str, Any]:
    """Return aggregator, data, width and seed of a run."""
    return {
        "aggregator": type(model.aggregator).__name__,
        "data": data.title,
        "width": model.head.width,
        "seed": torch.initial_seed(),
    }


def num_parameters(model: SetClassifier) -> dict[str, int]:
    """Return the number of parameters of each part of a model, frozen ones included."""
    parts = {"backbone": model.backbone, "aggregator": model.aggregator, "head": model.head}
    counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}
    return {**counts, "all": sum(weight.numel() for weight in model.parameters())}
