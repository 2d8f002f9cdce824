"""Aggregators as pooling layers, in new and in existing networks."""

from set_aggregation.pooling.feature_set import FeatureSet
from set_aggregation.pooling.pool import Pool, Pool2d
from set_aggregation.pooling.replace import replace_pooling

__all__ = ["FeatureSet", "Pool", "Pool2d", "replace_pooling"]
