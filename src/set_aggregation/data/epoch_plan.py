"""The images that one rank reads at each step of an epoch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from set_aggregation.data.permutation import permuted

Remainder = Literal["drop", "pad", "keep"]


@dataclass(frozen=True)
class EpochPlan:
    """The plan of an epoch of :class:`ResolutionBatchSampler`, for one rank.

    The images of each size have a random order that is the same on all ranks. Entry p of it goes to rank p mod R, and
    the share of a rank is cut into batches.

    Args:
        num_samples: number of images of each size.
        batch_sizes: largest batch of each size.
        shuffle, drop_last, remainder, seed, rank, num_replicas: see :class:`ResolutionBatchSampler`.
        epoch: number of the epoch.
        start: number of images of each size that an earlier plan of this epoch has used.
    """

    num_samples: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    shuffle: bool
    drop_last: bool
    remainder: Remainder
    seed: int
    rank: int
    num_replicas: int
    epoch: int
    start: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of batches."""
        return sum(len(self._ends(size)) for size in range(len(self.start)))

    def order(self) -> NDArray[np.int64]:
        """Return the index of the size of each step."""
        sizes = np.arange(len(self.start))
        order = np.repeat(sizes, [len(self._ends(size)) for size in sizes.tolist()])
        if self.shuffle:
            np.random.default_rng(self._words(*self.start)).shuffle(order)
        return order

    def batches(self, size: int) -> list[NDArray[np.int64]]:
        """Return the batches of a size, as indices among the images of that size."""
        num, share = self.num_samples[size], self._share(size)
        places = np.arange(share.start, share.stop, share.step) % num  # "pad" wraps around
        if self.shuffle:
            places = permuted(places, num, np.random.SeedSequence(self._words(), spawn_key=(size,)))
        return np.split(places, self._ends(size))[:-1]

    def used(self, num_batches: int) -> tuple[int, ...]:
        """Return how many images of each size all ranks together have used after some steps, ``start`` included."""
        steps = np.bincount(self.order()[:num_batches], minlength=len(self.start))
        used = []
        for size, num in enumerate(steps.tolist()):
            last = int(self._ends(size)[num - 1]) if num else 0
            used.append(min(self.start[size] + last * self.num_replicas, self.num_samples[size]))
        return tuple(used)

    def _words(self, *more: int) -> tuple[int, ...]:
        """Return the seed of the random numbers, as words of 32 bits.

        The upper words of a long seed come last, so that they are not taken for the epoch.
        """
        low, high = self.seed % 2**32, self.seed >> 32
        return (low, self.epoch, *more, high) if high else (low, self.epoch, *more)

    def _share(self, size: int) -> range:
        """Return the positions of the images of this rank."""
        num, start, first = self.num_samples[size], self.start[size], self.rank
        if self.remainder == "keep":  # continue with the rank after the last image of the previous sizes
            first = (self.rank - sum(self.num_samples[:size])) % self.num_replicas
        rest = (num - start) % self.num_replicas
        stop = {"drop": num - rest, "pad": num + -rest % self.num_replicas, "keep": num}
        return range(start + first, stop[self.remainder], self.num_replicas)

    def _ends(self, size: int) -> NDArray[np.int64]:
        """Return the end of each batch of the share."""
        share, batch_size = len(self._share(size)), self.batch_sizes[size]
        if self.drop_last:
            return np.arange(1, share // batch_size + 1) * batch_size
        num = -(-share // batch_size)
        return np.arange(1, num + 1) * share // max(num, 1)
