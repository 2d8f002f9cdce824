"""Trained models in use."""

from set_aggregation.inference.classifier import ImageClassifier
from set_aggregation.inference.loading import load
from set_aggregation.inference.safetensors import save_safetensors

__all__ = ["ImageClassifier", "load", "save_safetensors"]
