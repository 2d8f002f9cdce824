"""The LightningModule and its parts."""

from set_aggregation.models.classifier import SetClassifier
from set_aggregation.models.head import Head

__all__ = ["Head", "SetClassifier"]
