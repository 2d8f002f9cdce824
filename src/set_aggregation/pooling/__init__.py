"""From the feature map of a network to one vector, and aggregators in networks that exist already."""

from set_aggregation.pooling.feature_set import FeatureSet
from set_aggregation.pooling.pool2d import Pool2d
from set_aggregation.pooling.replace import replace_pooling
from set_aggregation.pooling.set_pooling import SetPooling

__all__ = ["FeatureSet", "Pool2d", "SetPooling", "replace_pooling"]
