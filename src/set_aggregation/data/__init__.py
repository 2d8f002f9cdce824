"""LightningDataModules over images that lie in memory."""

from set_aggregation.data.base import ImageDataModule
from set_aggregation.data.cifar10 import CIFAR10
from set_aggregation.data.digits import Digits
from set_aggregation.data.fashion_mnist import FashionMNIST

__all__ = ["CIFAR10", "Digits", "FashionMNIST", "ImageDataModule"]
