"""How fast an epoch of mixed sizes is, against the same pixels at one size.

    python benchmarks/mixed_sizes.py

Trains SetClassifier(SmallCNN, ...) through Lightning's Trainer on random images, an epoch of five sizes (16 to 48, 1152
pixels on average) and an epoch of as many pixels at one (32x32) in turn, and prints pixels per second of the first over
those of the second: the median, smallest and largest of the repetitions. Above 1 the mixed epoch is faster.
"""

from functools import partial

import torch
from lightning.pytorch import Trainer

from measuring import argument_parser, silence_lightning, spread, write
from random_images import RandomImages
from set_aggregation.aggregators import SAN, GlobalAvgPool
from set_aggregation.backbones import SmallCNN
from set_aggregation.callbacks import Throughput
from set_aggregation.models.classifier import SetClassifier

SIZES = [16, 24, 32, 40, 48]
ONE_SIZE = [32]


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
    """Measures each aggregator with each way to make batches."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=4_000, help="of 32x32, whose pixels an epoch has")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    silence_lightning()
    lines = [
        f"the pixels of {arguments.images:,} images of 32x32 an epoch, {arguments.rounds} rounds",
        "",
        "aggregator     batches of      mixed / one size",
    ]
    aggregators = {"SAN M=1024": partial(SAN, out_features=1024), "GlobalAvgPool": GlobalAvgPool}
    for name, aggregator in aggregators.items():
        for label, batches in {
            "256 images": {"batch_size": 256},
            "262,144 pixels": {"max_pixels_per_batch": 256 * 32 * 32},
        }.items():
            ratios = []
            for number in range(arguments.rounds + 1):
                mixed, one = (
                    pixels_per_second(aggregator, sizes, arguments.images * 32 * 32, **batches)
                    for sizes in (SIZES, ONE_SIZE)
                )
                if number:  # the first is for warming up
                    ratios.append(mixed / one)
            lines.append(f"{name:13s}  {label:14s}  {spread(ratios)}")
    write("mixed_sizes", "\n".join(lines), arguments.folder)


if __name__ == "__main__":
    main()
