"""The experiments on the paper's theory: Remark 1 and Theorem 1."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from reproduction.set_recovery import Kind, recover
from set_aggregation.aggregators import PowerMeanSAN

Measurement = Callable[[], dict[str, float]]

SEEDS = range(5)
EXPONENTS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
ELEMENTS, FEATURES = (4, 8, 16), (2, 4)
AGGREGATORS: tuple[Kind, ...] = ("san", "max", "avg")
NUMBERS_PER_UNKNOWN = (0.5, 1, 2, 4, 8, 16)  # M / (N K)


def measurements() -> Iterator[tuple[dict[str, Any], Measurement]]:
    """Gives the settings of each measurement, and what makes it.

    Example:
        >>> settings, measure = next(measurements())
        >>> settings
        {'experiment': 'remark1', 'p': 1, 'seed': 0}
        >>> sorted(measure())
        ['difference', 'largest']
    """
    for p in EXPONENTS:
        for seed in SEEDS:
            yield {"experiment": "remark1", "p": p, "seed": seed}, partial(difference_to_max, float(p), seed)
    for elements in ELEMENTS:
        for features in FEATURES:
            for aggregator in AGGREGATORS:
                for ratio in NUMBERS_PER_UNKNOWN:
                    for seed in SEEDS:
                        size = round(ratio * elements * features)
                        settings = {"elements": elements, "features": features, "aggregator": aggregator, "size": size}
                        yield (
                            {"experiment": "theorem1", **settings, "seed": seed},
                            partial(recover, elements, features, aggregator, size, seed),
                        )


@torch.no_grad()
def difference_to_max(p: float, seed: int) -> dict[str, float]:
    r"""Measures how far a power-mean SAN is from max pooling of the same projections.

    Remark 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_, with the sum that stands there: for 64
    sets of N = 64 elements from the standard normal distribution in 8 dimensions, and 16 directions and biases as a
    layer draws them,

    .. math::
        \Big| \Big( \sum_{i=1}^{N} \mathrm{ReLU}(v_m^\top x_i + b_m)^p \Big)^{1/p}
        - \max_i \mathrm{ReLU}(v_m^\top x_i + b_m) \Big|.

    Args:
        p: the exponent.
        seed: of the sets and of the directions.

    Returns:
        ``difference``, the mean over sets and directions, and ``largest``, the largest of them.

    Example:
        >>> difference_to_max(1.0, seed=0)["difference"] > 1 > 0.01 > difference_to_max(1000.0, seed=0)["difference"]
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = PowerMeanSAN(in_features=8, out_features=16, p=p, reduction="sum").double()
        x = torch.randn(64, 64, 8, dtype=torch.float64)
    maximum = layer.projection(x).relu().amax(1)
    difference = (layer(x) - maximum).abs()
    return {"difference": difference.mean().item(), "largest": difference.max().item()}
