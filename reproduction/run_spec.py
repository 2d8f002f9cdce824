"""The settings that identify a run, and its command line."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reproduction.records import key_of


@dataclass(frozen=True)
class RunSpec:
    """A run of the paper's experiments; equal settings mean the same run."""

    data: str  # cifar10, fashion_mnist or digits
    aggregator: str  # short name; "original" is average pooling without a hidden dense layer
    size: int  # the paper's, the number of inputs of the last dense layer
    seed: int
    epochs: int
    preset: str = "paper"
    backbone: str = "small_cnn"
    train_sizes: str | None = None  # "all" or "original" of several sizes; None for images of one size
    dropout: float = 0.0
    overrides: Mapping[str, Any] = field(default_factory=dict)  # values of OPTIONS that differ from the preset

    @property
    def key(self) -> str:
        """Text that identifies the settings, as in ``results/*.jsonl``."""
        return key_of(asdict(self))

    @property
    def label(self) -> str:
        """Readable description."""
        values = {name: getattr(self, name) for name in ("preset", "backbone", "train_sizes", "dropout")}
        changed = {name: value for name, value in values.items() if value != getattr(RunSpec, name)}
        words = [self.data, self.aggregator, str(self.size), f"seed {self.seed}", f"{self.epochs} epochs"]
        words += [f"{name} {value}" for name, value in (*changed.items(), *self.overrides.items())]
        return ", ".join(words)

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:8]
        return f"{self.data}-{self.aggregator}-{self.size}-seed{self.seed}-{self.epochs}epochs-{digest}"


# Options of ``main.py fit`` that a preset or an ablation sets, and the runs to which they apply.
OPTIONS: Mapping[str, tuple[str, Callable[[RunSpec], bool]]] = {
    "reduction": ("model.aggregator.reduction", lambda run: run.aggregator == "san"),
    "channels": ("model.aggregator.channels", lambda run: run.aggregator == "conv1x1"),
    "hidden_activation": ("model.hidden_activation", lambda run: run.aggregator not in ("san", "original")),
    "positions": ("model.positions", lambda run: run.aggregator == "san"),
    "initialization": ("model.initialization", lambda run: True),
    "learning_rate": ("model.optimizer.lr", lambda run: True),
    "split": ("data.split", lambda run: run.data != "digits"),
    "normalize": ("data.normalize", lambda run: True),
    "augment": ("data.augment", lambda run: True),
    "antialias": ("data.antialias", lambda run: run.train_sizes is not None),
    "sizes": ("data.sizes", lambda run: run.train_sizes is not None),
    "val_size": ("data.val_size", lambda run: True),
    "test_size": ("data.test_size", lambda run: True),
    "num_train": ("data.num_train", lambda run: True),
    "batch_size": ("data.batch_size", lambda run: True),
    "schedule": ("model.scheduler", lambda run: run.backbone != "small_cnn"),
    "precision": ("trainer.precision", lambda run: run.backbone != "small_cnn"),
}

# Differences from the files under configs/, which are the preset ``paper``.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "authors_code": {"reduction": "mean", "channels": 32, "hidden_activation": "none", "antialias": False},
    "modern": {"split": "official", "normalize": True, "augment": True, "hidden_activation": "relu"},
    "short": {"schedule": "configs/scheduler/one_cycle.yaml", "precision": "bf16-mixed"},
}
# The authors' code holds out a twelfth each, and uses other sizes.
_AUTHORS_FASHION_MNIST = {"val_size": 5833, "test_size": 5833, "sizes": [12, 20, 28, 36, 44]}

_EXPERIMENTS = {"cifar10": "cifar", "fashion_mnist": "fashion_mnist", "digits": "cifar"}
_DIGITS_SIZES = [8, 12, 16, 20, 24]
# The configs/model/NAME.yaml of aggregators in the comparison of poolings that have none of that name.
_BUILT_AS = {
    **dict.fromkeys(("power_mean_san", "deep_sets"), "san"),
    **dict.fromkeys(("attention_pool", "avg_max_pool", "covariance_pool", "fs_pool", "gem"), "max"),
    **dict.fromkeys(("log_sum_exp", "mean_std_pool", "pma"), "max"),
}
_FILES = {"avg": "global_avg_pool", "max": "global_max_pool"}  # in configs/aggregator; else the short name


def aggregator_config(name: str) -> dict[str, Any]:
    """Return class and arguments of an aggregator."""
    file = Path(__file__).parents[1] / "configs" / "aggregator" / f"{_FILES.get(name, name)}.yaml"
    return dict(yaml.safe_load(file.read_text()))


def fit_arguments(run: RunSpec) -> dict[str, Any]:
    """Return the options of ``main.py fit`` and their values, in the order in which they are given.

    Example:
        >>> print(*as_words(fit_arguments(RunSpec("cifar10", "max", 128, seed=0, epochs=15))), sep="\\n")
        --config=configs/san_cifar.yaml
        --model=configs/model/max.yaml
        --width=128
        --seed_everything=0
        --trainer.max_epochs=15
    """
    backbone = "" if run.backbone == "small_cnn" else f"_{run.backbone}"
    several = "_multires" if run.train_sizes else ""
    arguments: dict[str, Any] = {
        "config": f"configs/san{backbone}_{_EXPERIMENTS[run.data]}{several}.yaml",
        "model": f"configs/model/{_BUILT_AS.get(run.aggregator, run.aggregator)}.yaml",
    }
    if run.aggregator in _BUILT_AS:
        arguments["model.aggregator"] = f"configs/aggregator/{run.aggregator}.yaml"
    if run.data == "digits":
        arguments["data"] = "configs/data/digits.yaml"
        arguments |= {"data.sizes": _DIGITS_SIZES} if run.train_sizes else {}
        arguments["trainer.log_every_n_steps"] = 10  # an epoch has few steps
    arguments["width"] = None if run.aggregator == "original" else run.size
    arguments |= {"seed_everything": run.seed, "trainer.max_epochs": run.epochs}
    arguments |= {"data.train_sizes": "original"} if run.train_sizes == "original" else {}
    arguments |= {"model.dropout": run.dropout} if run.dropout else {}
    preset = dict(PRESETS[run.preset])
    if (run.preset, run.data) == ("authors_code", "fashion_mnist"):
        preset |= _AUTHORS_FASHION_MNIST
    values = {name: value for name, value in preset.items() if OPTIONS[name][1](run)} | dict(run.overrides)
    return arguments | {OPTIONS[name][0]: value for name, value in values.items()}


def as_words(arguments: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in arguments.items()]
