"""Noise instead of CIFAR-10: the content of images does not change the speed."""

import torch

from set_aggregation.data import CIFAR10


class RandomImages(CIFAR10):
    """As many random images as are trained on, and a few more; the labels are random, too."""

    def prepare_data(self):
        """Nothing to download."""

    def load(self):
        """Return random images and labels."""
        num = self.num_train + self.val_size + 10
        return torch.randint(256, (num, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (num,)), 10
