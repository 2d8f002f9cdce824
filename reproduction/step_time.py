"""Time of a training step of each network of the comparison of poolings, relative to average pooling."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from reproduction.grid import expand
from reproduction.run_spec import RunSpec, aggregator_config
from set_aggregation import aggregators
from set_aggregation.backbones import SmallCNN
from set_aggregation.models.classifier import SetClassifier

_IMAGES = {"cifar10": (3, (32, 16, 24, 40, 48)), "fashion_mnist": (1, (28, 14, 22, 42, 56))}  # the original size first
_ROUNDS = 15


def measurements() -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, float]]]]:
    """Yield the settings of each measurement, and the function that makes it."""
    runs = expand("pooling", seeds=[0])
    avg = {(run.data, run.train_sizes): run for run in runs if run.aggregator == "avg"}
    for run in runs:
        settings = {"data": run.data, "train_sizes": run.train_sizes, "aggregator": run.aggregator, "size": run.size}
        yield {"experiment": "pooling_time", **settings}, partial(time_of_a_step, run, avg[run.data, run.train_sizes])


def time_of_a_step(run: RunSpec, avg: RunSpec, batch_size: int = 64) -> dict[str, float]:
    """Return the median milliseconds of a step, and the ratio to average pooling, trained in turn."""
    channels, sizes = _IMAGES[run.data]
    batches = [torch.rand(batch_size, channels, side, side) for side in (sizes if run.train_sizes else sizes[:1])]
    steps = [_step(network(each), batches) for each in (run, avg)]
    seconds = [[step() for step in steps] for _ in range(_ROUNDS + 1)][1:]
    return {
        "milliseconds": 1000 * median(own for own, _ in seconds) / len(batches),
        "ratio": median(own / reference for own, reference in seconds),
    }


def network(run: RunSpec) -> SetClassifier:
    """Return the network that ``main.py fit`` trains."""
    channels, sizes = _IMAGES[run.data]
    config = aggregator_config(run.aggregator)
    hidden_activation = run.overrides.get("hidden_activation")
    size = {"out_features": run.size} if hidden_activation is None else {}
    return SetClassifier(
        SmallCNN(channels),
        partial(getattr(aggregators, config["class_path"]), **config.get("init_args", {}) | size),
        num_classes=10,
        image_size=(sizes[0], sizes[0]),
        hidden_features=None if size else run.size,
        hidden_activation=hidden_activation or "none",
        initialization="glorot",
    )


def _step(model: SetClassifier, batches: Sequence[torch.Tensor]) -> Callable[[], float]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        started = time.perf_counter()
        for images in batches:
            optimizer.zero_grad()
            logits = model(images.contiguous(memory_format=torch.channels_last))
            F.cross_entropy(logits, torch.arange(len(images)) % 10).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return time.perf_counter() - started

    return step
