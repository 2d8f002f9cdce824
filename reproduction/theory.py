"""The experiments on the paper's theory: Remark 1 (a limit) and Theorem 1 (a search for a set, given its embedding)."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import least_squares, linear_sum_assignment

from set_aggregation.aggregators import PowerMeanSAN

Points = Float[NDArray[np.float64], "N K"]
Kind = Literal["san", "max", "avg"]
Measurement = Callable[[], dict[str, float]]

SEEDS = range(5)
EXPONENTS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
ELEMENTS, FEATURES = (4, 8, 16), (2, 4)
AGGREGATORS: tuple[Kind, ...] = ("san", "max", "avg")
NUMBERS_PER_UNKNOWN = (0.5, 1, 2, 4, 8, 16)  # M / (N K)
_MET = 1e-9  # residual at which the search succeeds and ends
_STEPS = 200  # of a start


def measurements() -> Iterator[tuple[dict[str, Any], Measurement]]:
    """Yield the settings of each measurement, and the function that makes it."""
    for p, seed in product(EXPONENTS, SEEDS):
        yield {"experiment": "remark1", "p": p, "seed": seed}, partial(difference_to_max, float(p), seed)
    for n, k, aggregator, ratio, seed in product(ELEMENTS, FEATURES, AGGREGATORS, NUMBERS_PER_UNKNOWN, SEEDS):
        size = round(ratio * n * k)
        settings = {"elements": n, "features": k, "aggregator": aggregator, "size": size, "seed": seed}
        yield {"experiment": "theorem1", **settings}, partial(recover, n, k, aggregator, size, seed)


@torch.no_grad()
def difference_to_max(p: float, seed: int) -> dict[str, float]:
    """Return mean and largest distance of a power-mean SAN from max pooling of the same projections (Remark 1).

    The 64 sets have 64 elements from the standard normal distribution in 8 dimensions. The 16 directions and biases are
    drawn as a layer draws them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = PowerMeanSAN(in_features=8, out_features=16, p=p, reduction="sum").double()
        x = torch.randn(64, 64, 8, dtype=torch.float64)
    maximum = layer.projection(x).relu().amax(1)
    difference = (layer(x) - maximum).abs()
    return {"difference": difference.mean().item(), "largest": difference.max().item()}


def recover(elements: int, features: int, aggregator: Kind, size: int, seed: int, starts: int = 20) -> dict[str, float]:
    """Draw a set, embed it, search for a set of this embedding, and return the distance of the two sets (Theorem 1).

    M directions are uniform on the unit sphere, biases in [-1, 1], points in the unit ball; all depend on the seed, N
    and K only. Gauss-Newton steps, exact in the right piece of a piecewise linear function, start from up to ``starts``
    sets drawn like the first one. ``chance`` is the error of another random set; a large ``residual`` is a failure.
    """
    for_set, for_directions, for_biases, for_starts = np.random.default_rng([seed, elements, features]).spawn(4)
    wanted = _points_in_ball(for_set, elements, features)
    directions = for_directions.standard_normal((size, features))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    biases = for_biases.uniform(-1, 1, size)
    embedding = embed(wanted, directions, biases, aggregator)

    def residuals(flat: NDArray[np.float64]) -> NDArray[np.float64]:
        return embed(flat.reshape(wanted.shape), directions, biases, aggregator) - embedding

    def jacobian(flat: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = _weights(flat.reshape(wanted.shape) @ directions.T + biases, aggregator)  # N M
        return (weights.T[:, :, None] * directions[:, None]).reshape(size, -1)  # M N*K

    begin = best = _points_in_ball(for_starts, elements, features)
    chance, smallest, tried = matching_error(begin, wanted), np.inf, 0
    while tried < starts and smallest >= _MET:
        found = least_squares(residuals, begin.ravel(), jacobian, max_nfev=_STEPS)
        residual = float(np.abs(found.fun).max())
        if residual < smallest:
            best, smallest = found.x.reshape(wanted.shape), residual
        tried += 1
        begin = _points_in_ball(for_starts, elements, features)
    return {"error": matching_error(best, wanted), "residual": smallest, "starts": tried, "chance": chance}


def embed(
    points: Points,
    directions: Float[NDArray[np.float64], "M K"],
    biases: Float[NDArray[np.float64], "M"],
    aggregator: Kind,
) -> Float[NDArray[np.float64], "M"]:
    """Aggregate the projections of the points: the sum of their ReLUs, their maximum, or their mean."""
    z = points @ directions.T + biases  # N M
    return (_weights(z, aggregator) * z).sum(0)


def matching_error(one: Points, other: Points) -> float:
    """Return the smallest mean distance of points over all matchings of two sets."""
    distances = np.linalg.norm(one[:, None] - other[None], axis=2)  # N N
    return float(distances[linear_sum_assignment(distances)].mean())


def _weights(z: Float[NDArray[np.float64], "N M"], aggregator: Kind) -> Float[NDArray[np.float64], "N M"]:
    """Return the weight of each projection, which is also the slope of the piecewise linear aggregate."""
    if aggregator == "avg":
        return np.full(z.shape, 1 / len(z))
    return np.where(z > 0 if aggregator == "san" else z == z.max(0), 1.0, 0.0)


def _points_in_ball(generator: np.random.Generator, num: int, dimension: int) -> Points:
    points = generator.standard_normal((num, dimension))
    radii = generator.random((num, 1)) ** (1 / dimension)
    return points / np.linalg.norm(points, axis=1, keepdims=True) * radii
