"""Building aggregators from factories, so that no size is written twice."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from set_aggregation.aggregators.base import Aggregator


def build_aggregator(factory: Callable[..., Aggregator], in_features: int, sizes: dict[str, int]) -> Aggregator:
    """Call a factory with the sizes that it takes and was not given."""
    taken, given = arguments_of(factory)
    missing = {name: size for name, size in sizes.items() if name in taken and given.get(name) is None}
    aggregator = factory(in_features, **missing)
    for name, size in sizes.items():
        if (got := getattr(aggregator, name, size)) != size:
            kind = type(aggregator).__name__
            raise ValueError(f"{kind}: got {name}={got}, but the sets have {name}={size}; omit it to have it filled in")
    return aggregator


def arguments_of(factory: Callable[..., Any]) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Return the parameters of the class that a factory builds, and the arguments that the factory binds."""
    if not isinstance(factory, partial):
        return inspect.signature(factory).parameters, {}
    # jsonargparse builds partial(instantiate, ..., cls, **init_args); the parameters of the class count.
    target = next((bound for bound in factory.args if isinstance(bound, type)), factory.func)
    return inspect.signature(target).parameters, factory.keywords
