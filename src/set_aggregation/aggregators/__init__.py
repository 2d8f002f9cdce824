"""Layers that map a set of vectors to one vector; they need torch and jaxtyping only."""

from set_aggregation.aggregators.attention_pool import AttentionPool
from set_aggregation.aggregators.avg_max_pool import AvgMaxPool
from set_aggregation.aggregators.base import Aggregator, SetReduction
from set_aggregation.aggregators.concat import Concat
from set_aggregation.aggregators.conv1x1 import Conv1x1
from set_aggregation.aggregators.covariance_pool import CovariancePool
from set_aggregation.aggregators.deep_sets import DeepSets
from set_aggregation.aggregators.flatten import Flatten
from set_aggregation.aggregators.fs_pool import FSPool
from set_aggregation.aggregators.gated_attention_pool import GatedAttentionPool
from set_aggregation.aggregators.gem import GeM
from set_aggregation.aggregators.global_avg_pool import GlobalAvgPool
from set_aggregation.aggregators.global_max_pool import GlobalMaxPool
from set_aggregation.aggregators.log_sum_exp import LogSumExp
from set_aggregation.aggregators.mean_std_pool import MeanStdPool
from set_aggregation.aggregators.pma import PMA
from set_aggregation.aggregators.power_mean_san import PowerMeanSAN
from set_aggregation.aggregators.quantile import Quantile
from set_aggregation.aggregators.san import SAN
from set_aggregation.aggregators.set_transformer import SetTransformer
from set_aggregation.aggregators.sim_pool import SimPool
from set_aggregation.aggregators.std_pool import StdPool

__all__ = [
    "PMA",
    "SAN",
    "Aggregator",
    "AttentionPool",
    "AvgMaxPool",
    "Concat",
    "Conv1x1",
    "CovariancePool",
    "DeepSets",
    "FSPool",
    "Flatten",
    "GatedAttentionPool",
    "GeM",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "LogSumExp",
    "MeanStdPool",
    "PowerMeanSAN",
    "Quantile",
    "SetReduction",
    "SetTransformer",
    "SimPool",
    "StdPool",
]
