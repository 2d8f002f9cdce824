"""The images that one rank reads at each step of an epoch."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Remainder = Literal["drop", "pad", "keep"]

_ROUNDS = 8
_SMALL = 4096  # smaller permutations are drawn whole: cheap, and so few pairs would not be mixed evenly


@dataclass(frozen=True)
class EpochPlan:
    """The plan of an epoch of :class:`ResolutionBatchSampler`, for one rank.

    The images of each size have a random order that is the same on all ranks. Entry p of it goes to rank p mod R, and
    the share of a rank is cut into batches.
    """

    num_samples: list[int]  # of each size
    batch_sizes: list[int]  # the largest of each size
    shuffle: bool
    drop_last: bool
    remainder: Remainder
    seed: int
    start: list[int]  # number of images of each size that an earlier plan of this epoch has used
    epoch: int = 0
    num_replicas: int = 1
    rank: int = 0

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._order())

    def batches(self) -> list[NDArray[np.int64]]:
        """Return the batch of each step, as positions among the images sorted by size."""
        of_sizes = []
        for size, num in enumerate(self.num_samples):
            share = self._share(size)
            places = np.arange(share.start, share.stop, share.step) % num  # "pad" wraps around
            if self.shuffle:
                places = permuted(places, num, np.random.SeedSequence(self._words(), spawn_key=(size,)))
            of_sizes.append(iter(np.split(places + sum(self.num_samples[:size]), self._ends(size))))
        return [next(of_sizes[size]) for size in self._order().tolist()]

    def used(self, num_batches: int) -> list[int]:
        """Return how many images of each size all ranks together have used after some steps, ``start`` included."""
        steps = np.bincount(self._order()[:num_batches], minlength=len(self.start))
        lengths = [int(self._ends(size)[num - 1]) if num else 0 for size, num in enumerate(steps.tolist())]
        used = np.add(self.start, np.multiply(lengths, self.num_replicas))
        return list(np.minimum(used, self.num_samples).tolist())

    def _order(self) -> NDArray[np.int64]:
        """Return the index of the size of each step."""
        sizes = np.arange(len(self.start))
        order = np.repeat(sizes, [len(self._ends(size)) for size in sizes.tolist()])
        if self.shuffle:
            np.random.default_rng(self._words(*self.start)).shuffle(order)
        return order

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

    def _words(self, *more: int) -> tuple[int, ...]:
        """Return the seed in words of 32 bits, the upper ones last, so that they are not taken for the epoch."""
        low, high = self.seed % 2**32, self.seed >> 32
        return (low, self.epoch, *more, high) if high else (low, self.epoch, *more)


def permuted(places: NDArray[np.int64], num: int, seed: np.random.SeedSequence) -> NDArray[np.int64]:
    """Return some entries of a random permutation of 0 ... num - 1.

    A Feistel network is a bijection of the pairs (left, right) for any round functions. Results outside the range are
    sent through again until they are inside (cycle walking, `Black and Rogaway (2002)
    <https://doi.org/10.1007/3-540-45760-7_9>`_). One of a thousand ranks thus computes its thousandth of the
    permutation in a thousandth of the time and memory.
    """
    if num <= _SMALL:
        return np.random.default_rng(seed).permutation(num)[places]
    keys = seed.generate_state(_ROUNDS, np.uint64).astype(np.uint64)  # for the type checker
    # The smallest square that holds all, so that few entries need another pass.
    side = np.uint64(math.isqrt(num - 1) + 1)
    found, outside = places.astype(np.uint64), np.arange(len(places))
    while len(outside):
        left, right = np.divmod(found[outside], side)
        for key in keys:
            # The finaliser of SplitMix64: each input bit changes about half of the output bits.
            hashed = right ^ key
            hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            hashed ^= hashed >> np.uint64(31)
            left, right = right, (left + hashed % side) % side
        found[outside] = left * side + right
        outside = outside[found[outside] >= num]
    return found.astype(np.int64)
