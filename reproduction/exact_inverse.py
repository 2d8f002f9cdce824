"""The set of numbers behind a sum of ReLUs, read off its slopes."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class _Line(NamedTuple):
    slope: int
    intercept: float


def read_off(aggregate: Callable[[Tensor], Tensor], radius: float) -> list[float]:
    r"""Finds the numbers :math:`x_1, \dots, x_N`, given the function of a bias that their ReLUs sum up to.

    The argument that leads to Theorem 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_, done:

    .. math::
        f(b) = \sum_{i=1}^{N} \mathrm{ReLU}(x_i + b)

    is convex and piecewise linear. Its slope at b counts the numbers above -b, and grows at each of the -x_i by as many
    numbers as lie there. Between two pieces of slopes s < t there are t - s numbers, whose mean is, up to its sign,
    where the two lines meet. Either they all are equal to it, or the piece through that place has a slope between s and
    t and parts them. For N numbers it takes fewer than 2N values of f.

    Nothing is fitted: the numbers are exact up to rounding, repeated ones included. Numbers that rounding cannot tell
    apart are given as equal.

    Args:
        aggregate: f, of a bias in float64; its slopes come from autograd.
        radius: where to look: in (-radius, radius]. Others do no harm.

    Returns:
        The numbers, from the largest to the smallest.

    Example:
        >>> numbers = torch.tensor([0.5, -2.0, 0.5, 1.0], dtype=torch.float64)
        >>> read_off(lambda bias: (numbers + bias).relu().sum(), radius=3.0)
        [1.0, 0.5, 0.5, -2.0]
    """
    return _between(aggregate, _line_through(aggregate, -radius), _line_through(aggregate, radius))


def _between(aggregate: Callable[[Tensor], Tensor], left: _Line, right: _Line) -> list[float]:
    num = right.slope - left.slope
    if num == 0:
        return []
    mean = (right.intercept - left.intercept) / num
    if num > 1:
        middle = _line_through(aggregate, -mean)
        if left.slope < middle.slope < right.slope:
            return [*_between(aggregate, left, middle), *_between(aggregate, middle, right)]
    return [mean] * num


def _line_through(aggregate: Callable[[Tensor], Tensor], bias: float) -> _Line:
    b = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    value = aggregate(b)
    (gradient,) = torch.autograd.grad(value, b)
    slope = round(gradient.item())
    return _Line(slope, value.item() - slope * bias)
