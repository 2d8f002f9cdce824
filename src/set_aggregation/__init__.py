"""Trainable pooling layers, the Set Aggregation Network first, and the experiments that compare them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from set_aggregation.drop_in import replace_pooling
    from set_aggregation.image_classifier import ImageClassifier
    from set_aggregation.loading import load
    from set_aggregation.safetensors_file import save_safetensors

__all__ = ["ImageClassifier", "load", "replace_pooling", "save_safetensors"]
__version__ = "0.1.0"

_HOMES = {"ImageClassifier": "image_classifier", "load": "loading", "save_safetensors": "safetensors_file"}


def __getattr__(name: str) -> Any:
    """Imports what needs torch, or more than that, only where it is asked for."""
    if name == "replace_pooling":
        return import_module("set_aggregation.drop_in").replace_pooling
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from set_aggregation.extras import needs

    with needs("train", f"for set_aggregation.{name}"):
        return getattr(import_module(f"set_aggregation.{_HOMES[name]}"), name)
