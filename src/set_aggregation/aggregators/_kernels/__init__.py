"""Implementations of SAN's sum: by its formula, by blocks in the processor's cache, by Triton kernels."""

from set_aggregation.aggregators._kernels.dispatch import Implementation, choose

__all__ = ["Implementation", "choose"]
