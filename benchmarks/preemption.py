"""Cost of stopping all ranks at the same step, and of a checkpoint.

    torchrun --standalone --nproc-per-node 2 benchmarks/preemption.py

Trains SetClassifier(SmallCNN, SAN) with Lightning's Trainer on random images, on the ranks that torchrun starts.
Three ways of handling a stop request take turns of some steps each in one run: none; ours (an asynchronous reduction
during the next step); Lightning's (a broadcast that each step waits for). Prints the median time of a step in each
turn over that of the adjacent turn without handling. Then it measures how long training waits for ``last.ckpt``, and
when the file is on the disk.
"""

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from measuring import argument_parser, silence_lightning, spread, write
from random_images import RandomImages
from set_aggregation.aggregators import SAN
from set_aggregation.backbones import SmallCNN
from set_aggregation.callbacks import Recovery
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs._lightning import take_over_signals
from set_aggregation.runs.checkpoint import DurableCheckpointIO

WAYS = ("none", "ours", "Lightning's")
WARM_UP = 10  # steps at the start of the run


class Turns(Callback):
    """Switch between the ways and time each step."""

    def __init__(self, recovery, broadcast, steps_per_turn):
        self.recovery, self.broadcast, self.steps_per_turn = recovery, broadcast, steps_per_turn
        self.turns = []
        self.group = self.started = None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Begin a turn if the previous one is complete."""
        step = trainer.global_step - WARM_UP
        if step >= 0 and step % self.steps_per_turn == 0:
            self.group = self.group or self.recovery._group
            way = WAYS[step // self.steps_per_turn % len(WAYS)]
            self.recovery._group = self.group if way == "ours" else None
            broadcasts = way == "Lightning's"
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = self.broadcast if broadcasts else lambda: None
            self.turns.append((way, []))
            self.started = None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Record the time since the previous step."""
        now = time.perf_counter()
        if self.turns and self.started is not None:
            self.turns[-1][1].append(now - self.started)
        self.started = now

    def on_train_end(self, trainer, pl_module):
        """Restore the process group, which the end of training needs."""
        self.recovery._group = self.group


class Saves(Callback):
    """Time checkpoints."""

    def __init__(self, disk, folder):
        self.disk, self.folder = disk, folder
        self.waited, self.written = [], []

    def on_train_end(self, trainer, pl_module):
        """Write ten checkpoints."""
        for _ in range(10):
            started = time.perf_counter()
            trainer.save_checkpoint(self.folder / "last.ckpt", weights_only=False)
            self.waited.append(time.perf_counter() - started)
            self.disk.wait()
            self.written.append(time.perf_counter() - started)


def main():
    """Train on all ranks and print on rank 0."""
    parser = argument_parser(__doc__, rounds=20)
    parser.add_argument("--batch_size", type=int, default=32, help="on each rank")
    parser.add_argument("--out_features", type=int, default=128)
    parser.add_argument("--steps_per_turn", type=int, default=25)
    parser.set_defaults(threads=1)  # the ranks share the cores
    arguments = parser.parse_args()
    silence_lightning()
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(arguments.threads)
    num_steps = WARM_UP + arguments.steps_per_turn * arguments.rounds * len(WAYS)
    recovery, disk = Recovery(every_n_minutes=1e9), DurableCheckpointIO()
    with tempfile.TemporaryDirectory() as folder:
        saves = Saves(disk, Path(folder))
        trainer = Trainer(
            max_steps=num_steps,
            accelerator="cpu",
            devices=ranks,
            strategy="ddp" if ranks > 1 else "auto",
            logger=False,
            plugins=[disk],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            limit_val_batches=0,
        )
        turns = Turns(recovery, trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor, arguments.steps_per_turn)
        trainer.callbacks += [recovery, turns, saves]
        take_over_signals(trainer)
        data = RandomImages(
            num_train=num_steps * arguments.batch_size * ranks, val_size=10, batch_size=arguments.batch_size
        )
        model = SetClassifier(SmallCNN(3), partial(SAN, out_features=arguments.out_features), num_classes=10)
        trainer.fit(model, data)
        size = (Path(folder) / "last.ckpt").stat().st_size if trainer.is_global_zero else 0
    if not trainer.is_global_zero:
        return
    medians = [(way, statistics.median(times[1:])) for way, times in turns.turns]
    rounds = [dict(medians[i : i + len(WAYS)]) for i in range(0, len(medians), len(WAYS))]
    lines = [
        f"{ranks} rank(s) on the CPU, batches of {arguments.batch_size} on each, SAN with M = {arguments.out_features}",
        f"{arguments.rounds} turns of {arguments.steps_per_turn} steps of each way",
        "",
        f"a step without: {spread([1000 * turn['none'] for turn in rounds])} ms",
        *(f"{way + ' / none':18s} {spread([turn[way] / turn['none'] for turn in rounds])}" for way in WAYS[1:]),
        "",
        f"last.ckpt, {size / 1e6:.1f} MB: training waits {spread([1000 * s for s in saves.waited])} ms,",
        f"it is on the disk after {spread([1000 * s for s in saves.written])} ms",
    ]
    write("preemption", "\n".join(lines), arguments.folder)


if __name__ == "__main__":
    main()
