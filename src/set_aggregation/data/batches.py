"""Which samples make up each batch, on each rank."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


class Batches(Sampler[Tensor]):
    """Yields the indices of whole batches, so that a data set in memory is read by one indexing a batch.

    All ranks hold the same plan of an epoch, made from (seed, epoch), and take their share of each step:

    - shuffled, for training: ``num_replicas`` times ``batch_size`` samples a step, dealt out one by one. Ranks have
      equally many batches, whose sizes are the same; a last step that is not a multiple of the number of ranks
      leaves out at most ``num_replicas - 1`` samples, other ones each epoch. On one rank none is left out.
    - in order, for evaluation: every sample once over all ranks, nothing padded.

    Args:
        num_samples: size of the data set.
        batch_size: samples of a batch on one rank; the last batch may be smaller.
        shuffle: a new order each epoch.
        seed: of the orders; the same on all ranks.
        rank: which process this is.
        num_replicas: number of processes.

    Example:
        >>> batches = Batches(num_samples=5, batch_size=2, shuffle=False)
        >>> [batch.tolist() for batch in batches]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, num_samples: int, batch_size: int, shuffle: bool, seed: int = 0, rank: int = 0, num_replicas: int = 1
    ) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.num_replicas = num_replicas
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the batches of this rank."""
        share = self._share()
        return iter(torch.split(share, self.batch_size) if len(share) else ())

    def __len__(self) -> int:
        """The number of batches of this rank."""
        if self.shuffle:
            share = self.num_samples // self.num_replicas
        else:
            share = len(range(self.rank, self.num_samples, self.num_replicas))
        return -(-share // self.batch_size)

    def _share(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.num_samples)[self.rank :: self.num_replicas]
        # SeedSequence mixes the two, so that seed 0 in epoch 1 is not seed 1 in epoch 0.
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_samples)
        usable = self.num_samples - self.num_samples % self.num_replicas
        return torch.from_numpy(order[self.rank : usable : self.num_replicas])
