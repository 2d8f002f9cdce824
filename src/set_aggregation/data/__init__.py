"""Data modules, and the sampler that makes batches of images of one size."""

from set_aggregation.data.base import ImageDataModule, SizedImages
from set_aggregation.data.batch_sampler import ResolutionBatchSampler
from set_aggregation.data.cifar10 import CIFAR10
from set_aggregation.data.digits import Digits
from set_aggregation.data.fashion_mnist import FashionMNIST
from set_aggregation.data.image_folder import FileSet, ImageFolder
from set_aggregation.data.image_set import ImageSet
from set_aggregation.data.in_memory import InMemoryImages
from set_aggregation.data.size_buckets import choose_buckets
from set_aggregation.data.torch_dataset import TorchDataset

__all__ = [
    "CIFAR10",
    "Digits",
    "FashionMNIST",
    "FileSet",
    "ImageDataModule",
    "ImageFolder",
    "ImageSet",
    "InMemoryImages",
    "ResolutionBatchSampler",
    "SizedImages",
    "TorchDataset",
    "choose_buckets",
]
