"""What identifies a run of the paper's experiments."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """A run of the paper's experiments: two with equal settings are the same run.

    Args:
        data: name of the data set, ``"cifar10"``, ``"fashion_mnist"``, or ``"digits"`` to try a grid quickly.
        aggregator: short name of the aggregator; ``"original"`` is average pooling with nothing but the last dense
            layer behind it.
        size: the paper's size, the number of inputs of the last dense layer.
        seed: of the run.
        epochs: of training.
        preset: one of :data:`~reproduction.presets.PRESETS`.
        backbone: name of the backbone.
        train_sizes: None for images of one size; of images of several sizes, those trained on: ``"all"`` or
            ``"original"``.
        dropout: probability of dropping an input of the last dense layer.
        overrides: open points with another value than the preset has, by name.

    Example:
        >>> Settings("cifar10", "san", size=1024, seed=0, epochs=15, train_sizes="all").label
        'cifar10, san, 1024, seed 0, trained on all, 15 epochs'
    """

    data: str
    aggregator: str
    size: int
    seed: int
    epochs: int
    preset: str = "paper"
    backbone: str = "small_cnn"
    train_sizes: str | None = None
    dropout: float = 0.0
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The settings as they stand in ``results/``."""
        return asdict(self)

    @property
    def key(self) -> str:
        """A text that is the same for equal settings only."""
        return key_of(self.as_dict())

    @property
    def label(self) -> str:
        """The settings as a person would say them."""
        seen = [self.data, self.aggregator, str(self.size), f"seed {self.seed}"]
        seen += [self.preset] if self.preset != "paper" else []
        seen += [self.backbone] if self.backbone != "small_cnn" else []
        seen += [f"trained on {self.train_sizes}"] if self.train_sizes else []
        seen += [f"dropout {self.dropout}"] if self.dropout else []
        seen += [f"{name} {value}" for name, value in self.overrides.items()]
        return ", ".join([*seen, f"{self.epochs} epochs"])

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        seen = [self.data, self.aggregator, str(self.size), f"seed{self.seed}", f"{self.epochs}epochs"]
        return "-".join([*seen, hashlib.sha256(self.key.encode()).hexdigest()[:8]])


def key_of(settings: Mapping[str, Any]) -> str:
    """A text that is the same for equal settings only.

    Args:
        settings: as they stand in ``results/``.
    """
    return json.dumps(settings, sort_keys=True)
