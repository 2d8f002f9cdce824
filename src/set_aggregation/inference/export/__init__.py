"""Export of a trained model as a program that runs without this package."""

from set_aggregation.inference.export.export import export

__all__ = ["export"]
