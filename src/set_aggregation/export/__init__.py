"""Writes a trained model as a program that runs without this package."""

from set_aggregation.export.command import export

__all__ = ["export"]
