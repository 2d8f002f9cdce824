"""A random order of n things, of which only the places that are asked for are computed."""

import math

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8
_SMALL = 4096  # up to here the whole order is drawn: it costs nothing, and so few pairs would not be mixed evenly


def permuted(places: NDArray[np.int64], num: int, seed: np.random.SeedSequence) -> NDArray[np.int64]:
    """Says what stands at some places of a random order of 0 ... num - 1.

    A Feistel network is a bijection of the pairs (left, right), whatever its round functions are; pairs that stand for
    no number below ``num`` are sent through again until they do (cycle walking, `Black and Rogaway (2002)
    <https://doi.org/10.1007/3-540-45760-7_9>`_). So one of a thousand ranks computes its thousandth of the order, in
    a thousandth of the time and memory.

    Args:
        places: the places, each in 0 ... num - 1.
        num: how many things there are.
        seed: of the order.

    Example:
        >>> permuted(np.arange(4), 1_000_000, np.random.SeedSequence(0)).tolist()
        [819842, 182997, 612676, 861167]
    """
    if num <= _SMALL:
        return np.random.default_rng(seed).permutation(num)[places]
    keys = seed.generate_state(_ROUNDS, np.uint64).astype(np.uint64)  # for the type checker
    side = np.uint64(math.isqrt(num - 1) + 1)  # the smallest square that holds all, so that few walk on
    found = _feistel(places.astype(np.uint64), side, keys)
    outside = np.flatnonzero(found >= num)
    while len(outside):
        found[outside] = _feistel(found[outside], side, keys)
        outside = outside[found[outside] >= num]
    return found.astype(np.int64)


def _feistel(values: NDArray[np.uint64], side: np.uint64, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    left, right = np.divmod(values, side)
    for key in keys:
        left, right = right, (left + _hashed(right ^ key) % side) % side
    return left * side + right


def _hashed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every bit of the input changes about half of the bits of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
