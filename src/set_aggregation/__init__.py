"""Trainable pooling layers, the Set Aggregation Network first, and the experiments that compare them."""

from importlib import import_module
from pkgutil import iter_modules
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

_FOLDERS = [module.name for module in iter_modules(__path__) if module.ispkg]  # noqa: F405
_HOMES = {
    "data": ("ResolutionBatchSampler",),
    "inference": ("ImageClassifier", "load", "save_safetensors"),
    "pooling": ("FeatureSet", "Pool", "Pool2d", "replace_pooling"),
    "pooling.torch_geometric": ("AggregatorAdapter",),
}


def __getattr__(name: str) -> Any:
    """Import what a name stands for when it is first used: torch takes a second, Lightning several."""
    if name == "__all__":
        names = [name for names in _HOMES.values() for name in names]
        return sorted([*names, *_FOLDERS, *import_module("set_aggregation.aggregators").__all__])
    if name in _FOLDERS:
        return import_module(f"set_aggregation.{name}")
    if home := next((home for home, names in _HOMES.items() if name in names), None):
        from set_aggregation._extras import needs

        with needs("pyg" if home == "pooling.torch_geometric" else "train", f"for set_aggregation.{name}"):
            return getattr(import_module(f"set_aggregation.{home}"), name)
    if not name.startswith("_") and name in (aggregators := import_module("set_aggregation.aggregators")).__all__:
        return getattr(aggregators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
