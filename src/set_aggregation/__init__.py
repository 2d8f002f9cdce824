"""Trainable pooling layers, the Set Aggregation Network first, and the experiments that compare them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from set_aggregation.drop_in import replace_pooling

__all__ = ["replace_pooling"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports what needs torch only where it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from set_aggregation import drop_in

    return getattr(drop_in, name)
