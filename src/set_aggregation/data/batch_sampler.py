"""Batches of images of one size from a data set of several sizes."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from set_aggregation.data.epoch_plan import EpochPlan, Remainder

_MANY_SIZES = 10  # smallest number of sizes that may cause the warning about small batches


class ResolutionBatchSampler(Sampler[list[int]]):
    """Sampler of batches whose images all have one size, for training on several sizes and several ranks.

    All ranks follow one plan of an epoch, made from (seed, epoch); each computes its own share. At each step the ranks
    have batches of the same image size and equally many images, so that none waits for another. The order of the
    batches and of the images in them changes each epoch.

    Give it to a data loader as ``batch_sampler``, or as ``sampler`` with ``batch_size=None`` if the data set reads
    whole batches. Lightning calls ``set_epoch`` in both cases; a loop of your own must. Under Lightning's DDP, set
    ``Trainer(use_distributed_sampler=False)``.

    Args:
        sizes: height and width of each image, N pairs. For photographs of many sizes see
            :func:`~set_aggregation.data.choose_buckets`.
        batch_size: largest number of images in a batch on one rank. The batches of a size are equally large, up to one
            image, so that no small batch with a noisy gradient ends the epoch.
        max_pixels_per_batch: number of pixels in a batch, instead of ``batch_size``: small images come in larger
            batches, and all steps take about equally long.
        shuffle: a new order each epoch; otherwise size by size, in the order of the data set.
        drop_last: full batches only; the rest of each size is left out.
        remainder: on several ranks, ``"drop"`` leaves out at most ``num_replicas - 1`` images of each size, other ones
            each epoch; ``"pad"`` repeats at most as many. ``"keep"`` yields each image exactly once, and ranks may have
            different numbers of batches: use it for evaluation.
        seed: seed of the orders; the same on all ranks.
        rank: index of this process; None asks ``torch.distributed`` at each iteration, 0 if not initialised.
        num_replicas: number of processes; None asks ``torch.distributed`` at each iteration, 1 if not initialised.
        sampler: draws the indices of an epoch, such as ``torch.utils.data.WeightedRandomSampler``; None takes each
            image once. Its ``set_epoch``, if it has one, is called, and torch's generator is seeded by (seed, epoch);
            do not give it a generator of its own.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> sizes = [(32, 32), (16, 16), (32, 32), (16, 16), (32, 32)]
        >>> list(ResolutionBatchSampler(sizes, batch_size=2, shuffle=False))
        [[1, 3], [0], [2, 4]]
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]] | NDArray[np.integer[Any]],
        batch_size: int | None = None,
        max_pixels_per_batch: int | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        remainder: Remainder = "drop",
        seed: int = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
        sampler: Iterable[int] | None = None,
    ) -> None:
        one_of_them = (batch_size is None) != (max_pixels_per_batch is None)
        _check(one_of_them, f"{batch_size=} and {max_pixels_per_batch=}", "one of them")
        limits = {"batch_size": batch_size, "max_pixels_per_batch": max_pixels_per_batch, "num_replicas": num_replicas}
        for name, value in {**limits, "rank": rank, "seed": seed}.items():
            minimum = 1 if name in limits else 0
            fine = value is None or (isinstance(value, int | np.integer) and value >= minimum)
            _check(fine, f"{name}={value!r}", f"a whole number of at least {minimum}")
        _check(remainder in get_args(Remainder), f"{remainder=}", "'drop', 'pad' or 'keep'")
        self._ranks = rank, num_replicas
        self.sizes, self._groups = _group(sizes)
        pixels = self.sizes.prod(1)
        batch_sizes = np.full(len(pixels), batch_size)
        if max_pixels_per_batch is not None:
            batch_sizes = max_pixels_per_batch // pixels
            h, w = self.sizes[pixels.argmax()]
            expected = f"at least the {h * w} pixels of an image of {h}x{w}"
            _check(batch_sizes.all(), f"{max_pixels_per_batch=}", expected)
        if len(pixels) >= _MANY_SIZES and len(self._groups) < 2 * len(pixels) and batch_sizes.min() > 1:
            warnings.warn(
                f"ResolutionBatchSampler: {len(self._groups)} images have {len(pixels)} different sizes, so that "
                "batches hold about one image; resize them to few sizes, which choose_buckets chooses",
                stacklevel=2,
            )
        self._wrapped = sampler
        self._loaded: tuple[EpochPlan, int] | None = None  # a plan of which no batch was taken since it was loaded
        self._by_size = np.argsort(self._groups, kind="stable")  # the images of an epoch, sorted by size
        self._plan = EpochPlan(
            num_samples=np.bincount(self._groups).tolist(),
            batch_sizes=batch_sizes.tolist(),
            shuffle=shuffle,
            drop_last=drop_last,
            remainder=remainder,
            seed=int(seed),
            start=[0] * len(pixels),
        )
        self._begin(self._plan.seed, 0)

    @property
    def sampler(self) -> "ResolutionBatchSampler":
        """The sampler itself: Lightning calls ``set_epoch`` of a batch sampler on this attribute only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls this before each epoch. The epoch of a state just loaded is continued."""
        if epoch != self.epoch:
            self._begin(self._plan.seed, epoch)

    @property
    def epoch(self) -> int:
        """Epoch of the current order."""
        return self._plan.epoch

    def __len__(self) -> int:
        """Return the number of batches of this rank in a whole epoch."""
        return len(self._whole())

    @property
    def num_replanned(self) -> int:
        """The batches of a whole epoch less those of one that was resumed with other ranks or batch sizes, or 0."""
        return len(self) - len(self._plan)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this rank: of a whole epoch, or those that remain after ``load_state_dict``."""
        self._resume(*(self._loaded or (self._whole(), 0)))
        self._loaded = None
        for batch in self._plan.batches()[self._num_batches :]:
            self._num_batches += 1
            yield self._by_size[batch].tolist()

    def batch_of_step(self, step: int) -> list[int]:
        """Return the indices of a batch of this rank in the current epoch, numbered from 0."""
        return self._by_size[self._plan.batches()[step - self.num_replanned]].tolist()

    def state_dict(self, num_batches: int | None = None) -> dict[str, Any]:
        """Return the position within the epoch, as numbers and lists of numbers.

        Args:
            num_batches: number of batches that were used since the start of the epoch (or since a state was loaded
                with another number of ranks). None counts the batches that were yielded; worker processes of a data
                loader fetch more than were used, so give the number then.
        """
        return {**asdict(self._plan), "num_batches": self._num_batches if num_batches is None else num_batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume the position of another sampler of the same data: the next iteration yields the remaining batches.

        With another number of ranks or other batch sizes, the remaining images get a new plan, and no used image is
        repeated except for padding.

        Raises:
            ValueError: the state has other data or another kind of plan, or other ranks with ``remainder="keep"``.
        """
        past = EpochPlan(**{name: value for name, value in state.items() if name != "num_batches"})
        self._begin(past.seed, past.epoch)
        for name in ("num_samples", "shuffle", "drop_last", "remainder"):
            of_state, own = getattr(past, name), getattr(self._plan, name)
            _check(of_state == own, f"a state of {name}={of_state}", f"{own}")
        self._resume(past, state["num_batches"])
        self._loaded = past, state["num_batches"]

    def _begin(self, seed: int, epoch: int) -> None:
        """Plan an epoch from its start, with the images that the wrapped sampler draws."""
        num_samples = self._plan.num_samples
        if self._wrapped is not None:
            if hasattr(self._wrapped, "set_epoch"):
                self._wrapped.set_epoch(epoch)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0]))
                indices = np.array(list(self._wrapped), dtype=np.int64)
            inside = len(indices) > 0 and indices.min() >= 0 and indices.max() < len(self._groups)
            _check(inside, "a sampler of no indices or of others", f"indices from 0 to {len(self._groups) - 1}")
            groups = self._groups[indices]
            self._by_size = indices[np.argsort(groups, kind="stable")]
            num_samples = np.bincount(groups, minlength=len(self.sizes)).tolist()
        self._plan = replace(self._whole(), seed=seed, epoch=epoch, num_samples=num_samples)
        self._num_batches, self._loaded = 0, None

    def _resume(self, past: EpochPlan, num_batches: int) -> None:
        """Plan the rest of an epoch, of which some batches of a plan are used."""
        plan = self._whole()
        if (past.num_replicas, past.batch_sizes) == (plan.num_replicas, plan.batch_sizes):
            self._plan, self._num_batches = replace(plan, start=past.start), num_batches
            return
        got = f"a state of num_replicas={past.num_replicas} and batches of {past.batch_sizes}"
        expected = f"{plan.num_replicas} and {plan.batch_sizes} with remainder='keep'"
        _check(plan.remainder != "keep", got, expected)
        self._plan, self._num_batches = replace(plan, start=past.used(num_batches)), 0

    def _whole(self) -> EpochPlan:
        """Return the plan of the whole epoch, for the ranks of ``torch.distributed`` if none were given."""
        in_use = torch.distributed.is_available() and torch.distributed.is_initialized()
        now = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if in_use else (0, 1)
        rank, num = (own if given is None else given for given, own in zip(self._ranks, now, strict=True))
        _check(rank < num, f"{rank=}", f"less than num_replicas={num}")
        return replace(self._plan, start=[0] * len(self.sizes), rank=rank, num_replicas=num)


def _group(sizes: Sequence[tuple[int, int]] | NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different sizes, ascending, and the index of the size of each image."""
    pairs = np.asarray(sizes)
    fine = pairs.ndim == 2 and pairs.shape[1] == 2 and len(pairs) > 0 and pairs.dtype.kind in "iu"
    _check(fine, f"sizes of shape {pairs.shape} and type {pairs.dtype}", "N > 0 pairs (height, width)")
    fine = pairs.min() >= 1 and pairs.max() < 2**31
    _check(fine, f"sizes from {pairs.min()} to {pairs.max()}", "heights and widths from 1 to 2**31 - 1")
    pairs = pairs.astype(np.int64)
    # Sorting one number per pair is many times faster than sorting pairs.
    keys, groups = np.unique(pairs[:, 0] << 32 | pairs[:, 1], return_inverse=True)
    return np.stack((keys >> 32, keys & (2**32 - 1)), axis=1), groups


def _check(fine: Any, got: str, expected: str) -> None:
    if not fine:
        raise ValueError(f"ResolutionBatchSampler: got {got}, expected {expected}")
