"""Cost of the Trainer and this project's callbacks, compared with a loop by hand.

    python benchmarks/training_loop.py [--config FILE]

Trains the network of a configuration on random images in the shape of its data: once with ``fit``, that is Lightning's
Trainer with the callbacks of every run, and once in the shortest loop with the same batches, memory format and fused
optimizer, without metrics, logs and checkpoints. Neither validates. Both take the same number of steps; start-up is not
counted.
"""

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F

from measuring import argument_parser, silence_lightning, table, write
from set_aggregation.cli import main as command_line
from set_aggregation.data import CIFAR10, Digits, FashionMNIST
from set_aggregation.models.classifier import SetClassifier

ROOT = Path(__file__).parents[1]
_WARM_UP = 3  # steps of each


def random_images(self):
    """Replace the images of a data module by random ones."""
    num = self.num_train + self.val_size + self.test_size
    images = torch.randint(256, (num, self.in_channels, *self.image_size), dtype=torch.uint8)
    return images, torch.randint(self.num_classes, (num,)), self.test_size


class Clock:
    """Record when steps begin."""

    def __init__(self, num_steps):
        self.num_steps = num_steps
        self.times = []

    def __call__(self):
        """Record a step; synchronize with the accelerator at the first and the last step that counts."""
        if len(self.times) in (_WARM_UP, self.num_steps - 1) and torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self.times.append(time.perf_counter())

    @property
    def seconds(self):
        """Return the seconds from the first step that counts to the last."""
        return self.times[-1] - self.times[_WARM_UP]


def fit(arguments, steps):
    """Train with the command line; return the seconds, the module and the data module."""
    clock, found = Clock(steps), []
    step = SetClassifier.training_step

    def timed_step(self, batch, batch_idx):
        clock()
        found[:] = [self, self.trainer.datamodule]
        return step(self, batch, batch_idx)

    words = [
        *("main.py", "fit", "--config", arguments.config, "--test_after_fit=false", "--curves.every_n_epochs=0"),
        *("--trainer.logger", ROOT / "configs/logger/csv.yaml", "--trainer.limit_val_batches=0"),
        *(f"--trainer.max_steps={steps}", "--trainer.max_epochs=-1", "--checkpoint.monitor=null"),
        *("--data.val_size=10", f"--data.batch_size={arguments.batch_size}"),
        *(f"--data.num_train={arguments.batch_size * (steps + 1)}",),
        *(f"--{word}" for word in arguments.set),
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", list(map(str, words))),
        mock.patch.object(SetClassifier, "training_step", timed_step),
        contextlib.redirect_stdout(io.StringIO()),  # errors are shown
    ):
        command_line()
    return clock.seconds, *found


def by_hand(model, data, steps):
    """Train the same network in a loop; return the seconds."""
    device, clock = model.device, Clock(steps)
    # Without a Trainer the data module returns the loaders of one process.
    data.trainer = None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    model.train()
    for batch, _ in zip(data.train_dataloader(), range(steps), strict=False):
        clock()
        images, labels = data.on_after_batch_transfer([part.to(device, non_blocking=True) for part in batch], 0)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return clock.seconds


def main():
    """Measure both in turn."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "san_cifar.yaml")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=16, help="steps of each round")
    parser.add_argument("--set", nargs="*", default=[], help="more options of fit, as in model.compile=true")
    arguments = parser.parse_args()
    arguments.config = arguments.config.absolute()
    torch.set_num_threads(arguments.threads)
    silence_lightning()
    steps = arguments.steps + _WARM_UP + 1
    seconds = {"by hand": [], "fit": []}
    with contextlib.ExitStack() as stack:
        for cls in (CIFAR10, FashionMNIST, Digits):
            stack.enter_context(mock.patch.object(cls, "load", random_images))
            stack.enter_context(mock.patch.object(cls, "prepare_data"))
        for number in range(arguments.rounds + 1):
            through_trainer, model, data = fit(arguments, steps)
            alone = by_hand(model.to(model.device), data, steps)
            if number:  # the first round warms up
                seconds["fit"].append(through_trainer)
                seconds["by hand"].append(alone)
    num = arguments.steps * arguments.batch_size
    lines = [
        f"{arguments.config.name}, {arguments.steps} steps of {arguments.batch_size} images; {arguments.rounds} rounds",
        "",
        table(seconds, "by hand", num),
    ]
    write("training_loop", "\n".join(lines), arguments.folder)


if __name__ == "__main__":
    main()
