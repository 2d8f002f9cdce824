"""The settings that the paper leaves open, and which values they have in each preset."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reproduction.settings import Settings


@dataclass(frozen=True)
class OpenPoint:
    """Something that the paper does not say, or that the authors' code does in another way.

    Args:
        option: of ``main.py fit``.
        applies: whether a run has it.
        others: values beside that of the preset ``paper`` whose effect is measured.
    """

    option: str
    applies: Callable[[Settings], bool] = lambda settings: True
    others: tuple[Any, ...] = ()


OPEN_POINTS: Mapping[str, OpenPoint] = {
    "reduction": OpenPoint("--model.aggregator.reduction", lambda s: s.aggregator == "san", ("mean",)),
    "channels": OpenPoint("--model.aggregator.channels", lambda s: s.aggregator == "conv1x1", (32,)),
    "hidden_activation": OpenPoint(
        "--model.hidden_activation", lambda s: s.aggregator not in ("san", "original"), ("relu",)
    ),
    "positions": OpenPoint("--model.positions", lambda s: s.aggregator == "san", ("none", "trigonometric")),
    "initialization": OpenPoint("--model.initialization", others=("torch",)),
    "split": OpenPoint("--data.split", lambda s: s.data != "digits", ("official",)),
    "normalize": OpenPoint("--data.normalize", others=(True,)),
    "augment": OpenPoint("--data.augment", others=(True,)),
    "antialias": OpenPoint("--data.antialias", lambda s: s.train_sizes is not None, (False,)),
    "sizes": OpenPoint("--data.sizes", lambda s: s.train_sizes is not None),
    "val_size": OpenPoint("--data.val_size"),
    "test_size": OpenPoint("--data.test_size"),
    "num_train": OpenPoint("--data.num_train"),
    "batch_size": OpenPoint("--data.batch_size"),
    "schedule": OpenPoint("--model.scheduler", lambda s: s.backbone != "small_cnn"),
}

# What differs from the configurations under configs/, which are the preset ``paper``.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "code": {"reduction": "mean", "channels": 32, "hidden_activation": "none", "antialias": False},
    "modern": {"split": "official", "normalize": True, "augment": True, "hidden_activation": "relu"},
    "short": {"schedule": "one_cycle"},
}
# The authors' code holds out a twelfth each, and has sizes of its own.
_OF_DATA: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("code", "fashion_mnist"): {"val_size": 5833, "test_size": 5833, "sizes": [12, 20, 28, 36, 44]},
}


def open_point_arguments(settings: Settings) -> list[str]:
    """What a preset, and the single points that differ from it, add to the command line.

    Args:
        settings: of the run.

    Example:
        >>> open_point_arguments(Settings("cifar10", "san", 1024, seed=0, epochs=15, preset="code"))
        ['--model.aggregator.reduction=mean']
    """
    preset = {**PRESETS[settings.preset], **_OF_DATA.get((settings.preset, settings.data), {})}
    values = {name: value for name, value in preset.items() if OPEN_POINTS[name].applies(settings)}
    values |= settings.overrides
    if values.pop("schedule", None) == "one_cycle":
        return [*_one_cycle(settings.epochs), *_options(values)]
    return _options(values)


def _one_cycle(epochs: int) -> list[str]:
    """One cycle of the learning rate over a short training: 45,000 images in batches of 128."""
    scheduler = "--model.scheduler"
    total_steps = f"{scheduler}.init_args.total_steps={epochs * 352}"
    return [f"{scheduler}=configs/scheduler/one_cycle.yaml", f"{scheduler}_interval=step", total_steps]


def _options(values: Mapping[str, Any]) -> list[str]:
    return [f"{OPEN_POINTS[name].option}={_as_text(value)}" for name, value in values.items()]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
