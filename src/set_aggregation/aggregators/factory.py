"""Building aggregators from factories, so that no size is written twice."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from set_aggregation.aggregators.base import Aggregator


def build_aggregator(factory: Callable[..., Aggregator], in_features: int, sizes: dict[str, int]) -> Aggregator:
    """Call a factory with the sizes that it takes and was not given.

    Example:
        >>> from set_aggregation.aggregators import SAN, Flatten
        >>> sizes = {"position_features": 2, "set_size": 36}
        >>> build_aggregator(partial(SAN, out_features=8), 64, sizes)
        SAN(
          in_features=64, out_features=8, position_features=2, reduction='sum'
          (projection): Linear(in_features=66, out_features=8, bias=True)
          (activation): ReLU()
        )
        >>> build_aggregator(Flatten, 64, sizes)
        Flatten(in_features=64, out_features=2304)
    """
    taken, given = arguments_of(factory)
    missing = {name: size for name, size in sizes.items() if name in taken and given.get(name) is None}
    aggregator = factory(in_features, **missing)
    for name, size in sizes.items():
        if (got := getattr(aggregator, name, size)) != size:
            kind = type(aggregator).__name__
            raise ValueError(f"{kind}: got {name}={got}, but the sets have {name}={size}; omit it to have it filled in")
    return aggregator


def arguments_of(factory: Callable[..., Any]) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Return the parameters of the class that a factory builds, and the arguments that the factory binds.

    Example:
        >>> from set_aggregation.aggregators import Flatten
        >>> taken, given = arguments_of(partial(Flatten, set_size=36))
        >>> list(taken), given
        (['in_features', 'set_size'], {'set_size': 36})
    """
    if not isinstance(factory, partial):
        return inspect.signature(factory).parameters, {}
    # jsonargparse builds partial(instantiate, ..., cls, **init_args); the parameters of the class count.
    target = next((bound for bound in factory.args if isinstance(bound, type)), factory.func)
    return inspect.signature(target).parameters, factory.keywords
