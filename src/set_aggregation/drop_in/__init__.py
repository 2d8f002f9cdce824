"""Aggregators in networks that exist already, such as those of timm and torchvision."""

from set_aggregation.drop_in.replace import replace_pooling
from set_aggregation.drop_in.set_pooling import SetPooling

__all__ = ["SetPooling", "replace_pooling"]
