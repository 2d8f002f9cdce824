"""How SAN's sum is computed: as the formula reads, by blocks in the processor's cache, or by Triton kernels."""

from set_aggregation.aggregators.kernels.choice import Implementation, choose
from set_aggregation.aggregators.kernels.eager import eager_sum

__all__ = ["Implementation", "choose", "eager_sum"]
