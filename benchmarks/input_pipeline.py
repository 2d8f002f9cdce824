"""Cost of batches: indexing in memory, compared with torchvision's data set with ToTensor in a DataLoader.

    python benchmarks/input_pipeline.py

Random images in the shape of CIFAR-10, in a new random order each time. "ours" is all that training does to get a batch
of float images, ready for the backbone: the plan of an epoch, indexing, conversion. "resident loop" is the pattern of
airbench by hand: one tensor of floats, a random permutation, indexing; it takes four times the memory. The DataLoader
has 0 and 2 worker processes; it goes through a tenth of the images, since it is so slow.
"""

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from measuring import argument_parser, compare, table, write
from random_images import RandomImages

_FEWER = 10  # images that the DataLoader goes through: one of so many


class PILImages(Dataset):
    """torchvision's CIFAR10 without its files: an array, of which each image becomes a PIL image and then a tensor."""

    def __init__(self, num):
        self.images = np.random.default_rng(0).integers(256, size=(num, 32, 32, 3), dtype=np.uint8)
        self.to_tensor = ToTensor()

    def __len__(self):
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index):
        """Read an image."""
        return self.to_tensor(Image.fromarray(self.images[index])), 0


def ours(data):
    """Run an epoch as the Trainer does."""
    for batch in data.train_dataloader():
        data.on_after_batch_transfer(batch, 0)


def resident_loop(images, labels, batch_size):
    """Run an epoch by hand."""
    order = torch.randperm(len(images))
    for rows in order.split(batch_size):
        images[rows], labels[rows]


def data_loader(loader):
    """Run an epoch of a DataLoader with its worker processes."""
    for _ in loader:
        pass


def main():
    """Measure an epoch of each."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--batch_size", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    num, batch_size = arguments.images, arguments.batch_size
    data = RandomImages(num_train=num, val_size=10, batch_size=batch_size)
    data.setup("fit")
    floats = torch.rand(num, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    loaders = {
        workers: DataLoader(
            PILImages(num // _FEWER), batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
        for workers in (0, 2)
    }
    seconds = compare(
        {
            "ours": partial(ours, data),
            "resident loop": partial(resident_loop, floats, torch.zeros(num, dtype=torch.long), batch_size),
            **{f"DataLoader, {workers} workers": partial(data_loader, loader) for workers, loader in loaders.items()},
        },
        arguments.rounds,
    )
    scale = {name: _FEWER if name.startswith("DataLoader") else 1 for name in seconds}
    seconds = {name: [scale[name] * s for s in own] for name, own in seconds.items()}
    lines = [
        f"an epoch of {num:,} images of 32x32 in batches of {batch_size}; {arguments.rounds} rounds",
        "",
        table(seconds, "DataLoader, 0 workers", num),
    ]
    write("input_pipeline", "\n".join(lines), arguments.folder)


if __name__ == "__main__":
    main()
