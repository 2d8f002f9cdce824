"""Trainable pooling layers, the Set Aggregation Network first, and the experiments that compare them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from set_aggregation.aggregators import *  # noqa: F403
    from set_aggregation.data import ResolutionBatchSampler as ResolutionBatchSampler
    from set_aggregation.inference import ImageClassifier as ImageClassifier
    from set_aggregation.inference import load as load
    from set_aggregation.inference import save_safetensors as save_safetensors
    from set_aggregation.pooling import FeatureSet as FeatureSet
    from set_aggregation.pooling import Pool as Pool
    from set_aggregation.pooling import Pool2d as Pool2d
    from set_aggregation.pooling import replace_pooling as replace_pooling
    from set_aggregation.pooling.torch_geometric import AggregatorAdapter as AggregatorAdapter

__version__ = "0.1.0"

_FOLDERS = (
    "aggregators",
    "pooling",
    "backbones",
    "data",
    "models",
    "runs",
    "loggers",
    "reports",
    "callbacks",
    "inference",
    "cli",
)
_HOMES = {
    "AggregatorAdapter": ("pooling.torch_geometric", "pyg"),
    "FeatureSet": ("pooling", None),
    "ImageClassifier": ("inference", "train"),
    "Pool": ("pooling", None),
    "Pool2d": ("pooling", None),
    "ResolutionBatchSampler": ("data", "train"),
    "load": ("inference", "train"),
    "replace_pooling": ("pooling", None),
    "save_safetensors": ("inference", "train"),
}


def __getattr__(name: str) -> Any:
    """Import what a name stands for when it is first used: torch takes a second, Lightning several."""
    if name == "__all__":
        return sorted([*_HOMES, *_FOLDERS, *import_module("set_aggregation.aggregators").__all__])
    if name in _FOLDERS:
        return import_module(f"set_aggregation.{name}")
    if name in _HOMES:
        from set_aggregation._extras import needs

        home, extra = _HOMES[name]
        with needs(extra or "train", f"for set_aggregation.{name}"):
            return getattr(import_module(f"set_aggregation.{home}"), name)
    if not name.startswith("_") and name in (aggregators := import_module("set_aggregation.aggregators")).__all__:
        return getattr(aggregators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
