"""Theorem 1 put to the test: a set is searched for, given nothing but its embedding."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import least_squares, linear_sum_assignment

Points = Float[NDArray[np.float64], "N K"]
Kind = Literal["san", "max", "avg"]

_MET = 1e-9  # residual at which the search has found a set of the given embedding, and ends
_STEPS = 200  # of a start


def recover(elements: int, features: int, aggregator: Kind, size: int, seed: int, starts: int = 20) -> dict[str, float]:
    r"""Draws a set, embeds it, searches for a set of this embedding, and tells how far the two are apart.

    Theorem 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_ says that all numbers

    .. math::
        y_{v, b} = \sum_{i=1}^{N} \mathrm{ReLU}(v^\top x_i + b)

    together determine a set; here M of them are given, with directions v that are uniform on the unit sphere and b
    uniform in [-1, 1]. The points are uniform in the unit ball, so that all hinges cut through where they lie. The
    controls take the maximum or the mean of the same projections in place of the sum of their ReLUs: however large M,
    the former knows the corners of the convex hull only, the latter the mean.

    The search takes Gauss-Newton steps in a trust region (``scipy.optimize.least_squares``), which are exact once they
    are in the right piece of a piecewise linear function, from up to ``starts`` sets drawn as the first one, with N
    known. It ends at the first set of the given embedding; else the one of the smallest residual counts.

    **A large error with a residual near zero is another set of the same embedding**: the embedding does not determine
    the set. A large error with a large residual is a search that failed, and says nothing about the embedding.

    The set, the directions, and the starts depend on the seed, N and K only: a larger M adds directions.

    Args:
        elements: number N of points.
        features: dimension K of the points.
        aggregator: ``"san"``, or a control: ``"max"`` or ``"avg"``.
        size: number M of directions.
        seed: of all that is drawn.
        starts: how often the search may begin anew.

    Returns:
        ``error``, mean distance of points of the best matching of the two sets; ``residual``, largest difference of
        the two embeddings; ``starts``, how many were needed; ``chance``, the error of a set that is just drawn.

    Example:
        >>> recover(elements=4, features=2, aggregator="san", size=64, seed=0)["error"] < 1e-9
        True
        >>> recover(elements=4, features=2, aggregator="avg", size=64, seed=0)["error"] > 0.1
        True
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
    """Aggregates the projections of the points: the sum of their ReLUs, their maximum, or their mean.

    Args:
        points: the set.
        directions: M of them.
        biases: one for each direction.
        aggregator: ``"san"``, ``"max"`` or ``"avg"``.
    """
    z = points @ directions.T + biases  # N M
    return (_weights(z, aggregator) * z).sum(0)


def matching_error(one: Points, other: Points) -> float:
    """Mean distance of points in the matching of two sets that makes it smallest.

    Args:
        one: a set.
        other: a set of as many points.

    Example:
        >>> matching_error(np.array([[0.0], [1.0]]), np.array([[1.5], [0.0]]))
        0.25
    """
    distances = np.linalg.norm(one[:, None] - other[None], axis=2)  # N N
    return float(distances[linear_sum_assignment(distances)].mean())


def _weights(z: Float[NDArray[np.float64], "N M"], aggregator: Kind) -> Float[NDArray[np.float64], "N M"]:
    """How much each projection counts; the slope of the aggregate, too, since all three are piecewise linear."""
    if aggregator == "avg":
        return np.full(z.shape, 1 / len(z))
    return np.where(z > 0 if aggregator == "san" else z == z.max(0), 1.0, 0.0)


def _points_in_ball(generator: np.random.Generator, num: int, dimension: int) -> Points:
    points = generator.standard_normal((num, dimension))
    radii = generator.random((num, 1)) ** (1 / dimension)
    return points / np.linalg.norm(points, axis=1, keepdims=True) * radii
