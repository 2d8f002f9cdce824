"""LightningDataModules, and the sampler that makes batches of images of one size."""

from set_aggregation.data.base import ImageDataModule
from set_aggregation.data.batch_sampler import ResolutionBatchSampler
from set_aggregation.data.cifar10 import CIFAR10
from set_aggregation.data.digits import Digits
from set_aggregation.data.fashion_mnist import FashionMNIST
from set_aggregation.data.image_folder import ImageFolder
from set_aggregation.data.in_memory import InMemoryImages

__all__ = [
    "CIFAR10",
    "Digits",
    "FashionMNIST",
    "ImageDataModule",
    "ImageFolder",
    "InMemoryImages",
    "ResolutionBatchSampler",
]
