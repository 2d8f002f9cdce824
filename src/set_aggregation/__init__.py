"""Trainable pooling layers, the Set Aggregation Network first, and the experiments that compare them."""

__version__ = "0.1.0"
