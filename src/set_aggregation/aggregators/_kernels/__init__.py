"""How SAN's sum is computed: as the formula reads, by blocks in the processor's cache, or by Triton kernels."""

from set_aggregation.aggregators._kernels.dispatch import Implementation, choose
from set_aggregation.aggregators._kernels.eager import eager_sum

__all__ = ["Implementation", "choose", "eager_sum"]
