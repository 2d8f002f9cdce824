"""Batches of images of one size, out of a data set of several."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch.distributed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from set_aggregation.data.epoch_plan import EpochPlan, Remainder


class ResolutionBatchSampler(Sampler[list[int]]):
    """Yields the indices of batches whose images all have one size.

    All ranks follow one plan of an epoch, made from (seed, epoch), each computing its own share of it: step by step
    the ranks have batches of the same size of image and equally many images, so that none waits for another. The
    order of the batches and of the images in them is a new one each epoch.

    Where the images of a size are not a multiple of the number of ranks, ``remainder`` says what becomes of them. On
    one rank its three values are the same, and every image comes exactly once an epoch.

    - ``"drop"``: at most ``num_replicas - 1`` images of each size are left out, other ones each epoch.
    - ``"pad"``: at most ``num_replicas - 1`` images of that size come again, so that none is left out.
    - ``"keep"``: every image comes exactly once over all ranks; ranks share each size as evenly as can be and may
      have different numbers of batches. This is what evaluation needs.

    Give it to a data loader as ``batch_sampler``, or as ``sampler`` with ``batch_size=None`` where the data set reads
    a whole batch at once. Lightning calls ``set_epoch`` in both cases, a loop of your own has to. Under Lightning's
    DDP, ``Trainer(use_distributed_sampler=False)`` leaves the sharing to this sampler.

    Args:
        sizes: height and width of each image of the data set, N pairs.
        batch_size: images of a batch on one rank, at most. The batches of a size are equally large, but for one
            image: no small rest, whose gradient would be all noise, ends the epoch.
        max_pixels_per_batch: in place of ``batch_size``, as many images as have so many pixels together: small
            images come in larger batches, and each step is about as much work.
        shuffle: a new order each epoch; otherwise size by size, in the order of the data set.
        drop_last: full batches only; what is left of a size is left out.
        remainder: ``"drop"``, ``"pad"`` or ``"keep"``.
        seed: of the orders; the same on all ranks.
        rank: which process this is; by default what ``torch.distributed`` says, 0 where that is not in use.
        num_replicas: number of processes; by default what ``torch.distributed`` says, else 1.

    Raises:
        ValueError: an argument out of its range, which is named.

    Example:
        >>> sizes = [(32, 32), (16, 16), (32, 32), (16, 16), (32, 32)]
        >>> sampler = ResolutionBatchSampler(sizes, batch_size=2, shuffle=False)
        >>> list(sampler)
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
    ) -> None:
        in_use = torch.distributed.is_available() and torch.distributed.is_initialized()
        if rank is None:
            rank = torch.distributed.get_rank() if in_use else 0
        if num_replicas is None:
            num_replicas = torch.distributed.get_world_size() if in_use else 1
        if (batch_size is None) == (max_pixels_per_batch is None):
            raise _error(
                f"got batch_size={batch_size} and max_pixels_per_batch={max_pixels_per_batch}, expected one of them"
            )
        if remainder not in ("drop", "pad", "keep"):
            raise _error(f"got remainder={remainder!r}, expected 'drop', 'pad' or 'keep'")
        num_replicas = _integer("num_replicas", num_replicas, 1)
        if _integer("rank", rank, 0) >= num_replicas:
            raise _error(f"got rank={rank}, expected less than num_replicas={num_replicas}")
        self.sizes, self._members = _group(sizes)
        pixels = self.sizes.prod(1)
        if batch_size is not None:
            batch_sizes = np.full(len(pixels), _integer("batch_size", batch_size, 1))
        else:
            batch_sizes = min(_integer("max_pixels_per_batch", max_pixels_per_batch, 1), 2**62) // pixels
            if not batch_sizes.all():
                h, w = self.sizes[pixels.argmax()]
                raise _error(
                    f"got max_pixels_per_batch={max_pixels_per_batch}, expected at least the {h * w} pixels of an "
                    f"image of {h}x{w}"
                )
        self._plan = EpochPlan(
            num_samples=tuple(len(members) for members in self._members),
            batch_sizes=tuple(batch_sizes.tolist()),
            shuffle=shuffle,
            drop_last=drop_last,
            remainder=remainder,
            seed=_integer("seed", seed, 0),
            rank=rank,
            num_replicas=num_replicas,
            epoch=0,
            start=(0,) * len(pixels),
        )
        self._num_batches = 0  # used of the plan
        self._resumed = False

    @property
    def sampler(self) -> "ResolutionBatchSampler":
        """Itself: of a batch sampler, Lightning calls ``set_epoch`` on this attribute only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order; Lightning calls this before each epoch.

        Args:
            epoch: number of the epoch, from 0. The epoch of a state that was just loaded goes on where it was.
        """
        epoch = _integer("epoch", epoch, 0)
        if epoch != self.epoch:
            self._begin(epoch)

    @property
    def epoch(self) -> int:
        """The epoch whose order this is."""
        return self._plan.epoch

    def __len__(self) -> int:
        """The number of batches of this rank in a whole epoch."""
        return len(replace(self._plan, start=(0,) * len(self.sizes)))

    @property
    def num_remaining(self) -> int:
        """The number of batches that the next iteration gives."""
        return len(self._plan) - self._num_batches if self._resumed else len(self)

    @property
    def num_replanned(self) -> int:
        """By how many batches a whole epoch is longer than its rest, where that was planned anew for another number
        of ranks or other batch sizes; else 0."""
        return len(self) - len(self._plan)

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the batches of this rank: of a whole epoch, or those that remain after ``load_state_dict``."""
        if not self._resumed:
            self._begin(self.epoch)
        self._resumed = False
        order = self._plan.order()
        batches = [self._plan.batches(size) for size in range(len(self.sizes))]
        used = np.bincount(order[: self._num_batches], minlength=len(batches))
        for size in order[self._num_batches :].tolist():
            self._num_batches += 1
            batch = batches[size][used[size]]
            used[size] += 1
            yield self._members[size][batch].tolist()

    def batch_of_step(self, step: int) -> list[int]:
        """The indices of a batch of this rank in the present epoch.

        Args:
            step: number of the batch, from 0, as :meth:`__len__` counts them.
        """
        order = self._plan.order()
        number = step - self.num_replanned
        size = int(order[number])
        batch = self._plan.batches(size)[int((order[:number] == size).sum())]
        return self._members[size][batch].tolist()

    def state_dict(self, num_batches: int | None = None) -> dict[str, Any]:
        """Says where in the epoch this is, in numbers and lists of them.

        Args:
            num_batches: how many batches of the epoch were used, since its start or since the state was loaded with
                another number of ranks; by default those that were yielded, which are more where the workers of a
                data loader fetch some in advance.
        """
        plan = self._plan
        return {
            "seed": plan.seed,
            "epoch": plan.epoch,
            "start": list(plan.start),
            "num_batches": self._num_batches if num_batches is None else num_batches,
            "batch_sizes": list(plan.batch_sizes),
            "num_replicas": plan.num_replicas,
            "num_samples": list(plan.num_samples),
            "kind": [plan.shuffle, plan.drop_last, plan.remainder],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where another sampler of the same data was: the next iteration gives the batches that remained.

        With another number of ranks or other batch sizes, the images that remained are planned anew, and none that
        was seen comes again but for padding.

        Raises:
            ValueError: the state is of other data or of another kind of plan, or of other ranks with
                ``remainder="keep"``, whose ranks are not in step.
        """
        plan = self._plan
        if tuple(state["num_samples"]) != plan.num_samples:
            raise _error(f"got a state of {state['num_samples']} images by size, expected {list(plan.num_samples)}")
        if list(state["kind"]) != (kind := [plan.shuffle, plan.drop_last, plan.remainder]):
            raise _error(f"got a state of shuffle, drop_last and remainder {list(state['kind'])}, expected {kind}")
        past = replace(
            plan,
            seed=state["seed"],
            epoch=state["epoch"],
            start=tuple(state["start"]),
            batch_sizes=tuple(state["batch_sizes"]),
            num_replicas=state["num_replicas"],
        )
        if (past.num_replicas, past.batch_sizes) == (plan.num_replicas, plan.batch_sizes):
            self._plan, self._num_batches, self._resumed = past, state["num_batches"], True
            return
        if plan.remainder == "keep":
            raise _error(
                f"got a state of num_replicas={past.num_replicas} and batches of {list(past.batch_sizes)}, expected "
                f"{plan.num_replicas} and {list(plan.batch_sizes)} with remainder='keep'"
            )
        used = replace(past, rank=0).used(state["num_batches"])  # this rank may not have been among those
        self._plan = replace(plan, seed=past.seed, epoch=past.epoch, start=used)
        self._num_batches, self._resumed = 0, True

    def _begin(self, epoch: int) -> None:
        self._plan = replace(self._plan, epoch=epoch, start=(0,) * len(self.sizes))
        self._num_batches = 0
        self._resumed = False


def _group(
    sizes: Sequence[tuple[int, int]] | NDArray[np.integer[Any]],
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """The different sizes, ascending, and the indices of the images of each."""
    try:
        pairs = np.asarray(sizes)
    except ValueError as error:  # lists of several lengths
        raise _error("got sizes of several lengths, expected N > 0 pairs (height, width)") from error
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
        raise _error(f"got sizes of shape {pairs.shape} and type {pairs.dtype}, expected N > 0 pairs (height, width)")
    if pairs.min() < 1 or pairs.max() >= 2**31:
        raise _error(f"got sizes from {pairs.min()} to {pairs.max()}, expected heights and widths from 1 to 2**31 - 1")
    pairs = pairs.astype(np.int64)
    # One number for each pair sorts many times faster than pairs do.
    keys, group, counts = np.unique(pairs[:, 0] << 32 | pairs[:, 1], return_inverse=True, return_counts=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(counts)[:-1])
    return np.stack((keys >> 32, keys & (2**32 - 1)), axis=1), members


def _integer(name: str, value: Any, minimum: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if number < minimum:
        raise _error(f"got {name}={value!r}, expected a whole number of at least {minimum}")
    return number


def _error(message: str) -> ValueError:
    return ValueError(f"ResolutionBatchSampler: {message}")
