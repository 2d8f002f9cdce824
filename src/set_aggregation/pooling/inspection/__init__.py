"""Where a network has its feature map: what it says of itself, and what it is seen to call."""

from set_aggregation.pooling.inspection.layout import Layout, as_feature_map, is_map, layout_of, num_prefix_tokens
from set_aggregation.pooling.inspection.pooled import Pooled, activation, find_pooled
from set_aggregation.pooling.inspection.refusal import first_line, refusal
from set_aggregation.pooling.inspection.timm import has_one_classifier, has_timm_interface, unpool
from set_aggregation.pooling.inspection.trace import Call, Trace
from set_aggregation.pooling.inspection.trial import example_images, light_copy

__all__ = [
    "Call",
    "Layout",
    "Pooled",
    "Trace",
    "activation",
    "as_feature_map",
    "example_images",
    "find_pooled",
    "first_line",
    "has_one_classifier",
    "has_timm_interface",
    "is_map",
    "layout_of",
    "light_copy",
    "num_prefix_tokens",
    "refusal",
    "unpool",
]
