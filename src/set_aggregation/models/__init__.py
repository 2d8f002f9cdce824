"""The LightningModule of image classification and its parts."""

from set_aggregation.models.classifier import SetClassifier
from set_aggregation.models.head import Head
from set_aggregation.models.schedule import WarmupCosine

__all__ = ["Head", "SetClassifier", "WarmupCosine"]
