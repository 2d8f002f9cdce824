"""Implementations of SAN's sum: by its formula, by blocks in the processor's cache, by Triton kernels."""
