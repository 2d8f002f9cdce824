"""Layers that turn a set of vectors into one vector; they import torch and jaxtyping only."""

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.conv1x1 import Conv1x1
from set_aggregation.aggregators.flatten import Flatten
from set_aggregation.aggregators.global_avg_pool import GlobalAvgPool
from set_aggregation.aggregators.global_max_pool import GlobalMaxPool
from set_aggregation.aggregators.power_mean_san import PowerMeanSAN
from set_aggregation.aggregators.san import SAN

__all__ = ["SAN", "Aggregator", "Conv1x1", "Flatten", "GlobalAvgPool", "GlobalMaxPool", "PowerMeanSAN"]
