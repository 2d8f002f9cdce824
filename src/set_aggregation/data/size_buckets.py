"""Choice of a few sizes for images of any size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CUTS = 32  # candidate cuts of a group along each of its two axes


def choose_buckets(
    sizes: Sequence[tuple[int, int]] | NDArray[np.integer[Any]],
    max_side: int,
    num_buckets: int = 8,
    max_aspect_change: float = 1.25,
    max_enlargement: float = 1.25,
) -> NDArray[np.int64]:
    r"""Choose the size to which each image is resized: few different sizes, and little change.

    An image h x w is resized to H x W within two bounds: its aspect ratio changes by at most a factor,
    :math:`\max(\frac{H / W}{h / w}, \frac{h / w}{H / W}) \le` ``max_aspect_change``, and neither side grows by more
    than a factor, :math:`\max(\frac{H}{h}, \frac{W}{w}) \le` ``max_enlargement``.

    An image longer than ``max_side`` times its shorter side cannot keep its aspect ratio; it becomes one pixel wide.

    Groups of images are split in two, the worst one first, between two aspect ratios or two areas, so that the images
    come closest to their goal (their own size, shrunk until the longer side is ``max_side``).

    Choose the buckets once, resize each image to its bucket when it is read, and batch by bucket::

        buckets = choose_buckets(sizes, max_side=224)
        sampler = ResolutionBatchSampler(buckets, batch_size=32)
        # in __getitem__(i): h, w = buckets[i]; image.resize((w, h), Image.Resampling.BICUBIC)

    Args:
        sizes: height and width of each image, N pairs.
        max_side: longest side of the result.
        num_buckets: number of different sizes. There are more only if the bounds need them, or if images would lose
            more than half of both sides on average because of smaller ones in their group.
        max_aspect_change: factor by which the aspect ratio may change, more than 1.
        max_enlargement: factor by which a side may grow, at least 1.

    Returns:
        Height and width of each image after resizing, N pairs.

    Example:
        >>> sizes = np.array([[100, 100], [98, 102], [60, 80], [600, 800]])
        >>> choose_buckets(sizes, max_side=80, num_buckets=2).tolist()
        [[78, 80], [78, 80], [60, 80], [60, 80]]
    """
    unique, inverse, counts = np.unique(
        np.asarray(sizes, dtype=np.int64), axis=0, return_inverse=True, return_counts=True
    )
    # The narrowest images that max_side allows stand for narrower ones, which thus share a bucket.
    widened = np.maximum(unique, unique.max(1, keepdims=True) / max_side)
    bounds = max_side, np.log(max_aspect_change) + 1e-9, max_enlargement
    groups = [_Group(np.arange(len(unique)), widened, counts, *bounds)]
    while candidates := [group for group in groups if group.axes and (group.loss or group.is_bad)]:
        worst = max(candidates, key=lambda group: (group.is_bad, group.loss))
        if len(groups) >= num_buckets and not worst.is_bad:
            break
        groups.remove(worst)
        groups += worst.split()
    result = np.empty_like(unique)
    for group in groups:
        result[group.members] = group.size
    return result[inverse]


class _Group:
    """Images that are resized to one size: their indices, sizes and counts, and the bounds."""

    def __init__(
        self, members: NDArray[np.int64], sizes: NDArray[np.number[Any]], counts: NDArray[np.int64], *bounds: float
    ) -> None:
        self.members, self.sizes, self.counts, self.bounds = members, sizes, counts, bounds
        max_side, tolerance, max_enlargement = bounds
        goals = sizes * np.minimum(1, max_side / sizes.max(1, keepdims=True))
        self.aspects, areas = np.log(sizes[:, 0] / sizes[:, 1]), np.log(goals.prod(1))
        low, high = self.aspects.min(), self.aspects.max()
        # A size of the mean area, between the extreme aspect ratios, within the bound of the smallest image.
        area = np.average(areas, weights=counts)
        goal = np.exp(np.array([area + (low + high) / 2, area - (low + high) / 2]) / 2)
        limit = np.minimum(np.floor(sizes.min(0) * max_enlargement + 1e-9), max_side)
        goal *= min(1, *(limit / goal))
        # Rounded to pixels the size may miss the aspect ratio; then a smaller size may meet it.
        smaller = goal / goal.max() * np.arange(round(goal.max()) - 1, 0, -1)[:, None]
        choices = np.clip(np.append([goal], smaller, axis=0).round(), 1, limit).astype(np.int64)
        aspects = np.log(choices[:, 0] / choices[:, 1])
        self.size = choices[(np.maximum(aspects - low, high - aspects) <= tolerance).argmax()]  # the first that does
        change = np.abs(np.log(self.size[0] / self.size[1]) - self.aspects).max()
        self.keeps_aspect = bool(change <= tolerance)
        self.loss = float((np.abs(np.log(goals / self.size)).sum(1) * counts).sum())
        self.is_bad = not self.keeps_aspect or self.loss > 2 * np.log(2) * counts.sum()
        self.axes = [axis for axis in (self.aspects, areas) if np.ptp(axis) > 0]

    def split(self) -> "tuple[_Group, _Group]":
        """Split the group in two."""
        aspects, tolerance = self.aspects, self.bounds[1]
        if not self.keeps_aspect and np.ptp(aspects) > 0:
            # The least number of parts needed; half of them go to each side.
            parts = max(2, int(np.ceil(np.ptp(aspects) / (2 * tolerance))))
            return self._cut(aspects, aspects.min() + np.ptp(aspects) * (parts // 2) / parts)
        pairs = []
        for values in self.axes:
            steps = np.unique(values)[:-1]
            cuts = steps[np.unique(np.linspace(0, len(steps) - 1, _CUTS).astype(int))]
            pairs += [self._cut(values, cut) for cut in cuts]
        return min(pairs, key=lambda pair: pair[0].loss + pair[1].loss)

    def _cut(self, values: NDArray[np.float64], cut: float) -> "tuple[_Group, _Group]":
        below = values <= cut
        one, other = (
            _Group(self.members[side], self.sizes[side], self.counts[side], *self.bounds) for side in (below, ~below)
        )
        return one, other
