"""Trained models in use."""

from set_aggregation.inference.classifier import ImageClassifier, save_safetensors
from set_aggregation.inference.loading import load

__all__ = ["ImageClassifier", "load", "save_safetensors"]
