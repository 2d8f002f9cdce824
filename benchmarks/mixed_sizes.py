"""How fast an epoch of mixed sizes is, against the same pixels at one size.

    python benchmarks/mixed_sizes.py

Trains SetClassifier(SmallCNN, ...) through Lightning's Trainer on random images, an epoch of five sizes (16 to 48, 1152
pixels on average) and an epoch of as many pixels at one (32x32) in turn, and prints pixels per second of the first over
those of the second: the median, smallest and largest of the repetitions. Above 1 the mixed epoch is faster.
"""

import argparse
import logging
import platform
import statistics
import warnings
from functools import partial

import lightning
import torch
from lightning.pytorch import Trainer

from set_aggregation.aggregators import SAN, GlobalAvgPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.callbacks import Throughput
from set_aggregation.classifier import SetClassifier
from set_aggregation.data import MultiResolutionCIFAR10

SIZES = [16, 24, 32, 40, 48]
ONE_SIZE = [32]


class RandomImages(MultiResolutionCIFAR10):
    """Noise in place of CIFAR-10: what is in the images does not matter for the speed."""

    def prepare_data(self):
        """Nothing to download."""

    def load(self):
        """Makes as many images as are trained on, and a few more."""
        num = self.num_train + 20
        return torch.randint(256, (num, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (num,)), 10


def pixels_per_second(aggregator, sizes, num_pixels, **batches):
    """Trains for an epoch."""
    pixels = sum(size * size for size in sizes) / len(sizes)
    data = RandomImages(sizes=sizes, num_train=round(num_pixels / pixels), val_size=10, **batches)
    model = SetClassifier(SmallCNN(3), aggregator, num_classes=10, hidden_features=None)
    throughput = Throughput()
    Trainer(
        max_epochs=1,
        accelerator="auto",
        devices=1,
        logger=False,
        callbacks=[throughput],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    ).fit(model, data)
    return throughput.images_per_second * pixels


def main():
    """Prints a line for each aggregator and way to make batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {arguments.threads} thread(s)"
    print(f"{device}; {platform.machine()}, torch {torch.__version__}, lightning {lightning.__version__}")
    print(f"the pixels of {arguments.images:,} images of 32x32 an epoch, {arguments.repetitions} repetitions in turn\n")
    print("aggregator    batches of             mixed / one size")
    aggregators = {"SAN M=1024": partial(SAN, out_features=1024), "GlobalAvgPool": GlobalAvgPool}
    for name, aggregator in aggregators.items():
        for label, batches in {
            "256 images": {"batch_size": 256},
            "262,144 pixels": {"max_pixels_per_batch": 256 * 32 * 32},
        }.items():
            ratios = []
            for repetition in range(arguments.repetitions + 1):
                mixed, one = (
                    pixels_per_second(aggregator, sizes, arguments.images * 32 * 32, **batches)
                    for sizes in (SIZES, ONE_SIZE)
                )
                if repetition:  # the first is for warming up
                    ratios.append(mixed / one)
            print(f"{name:13s} {label:16s} {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
