"""Optional dependencies."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtraError(ModuleNotFoundError):
    """Error for a missing package that an extra of this project installs."""


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Name the extra that installs a package that cannot be imported.

    Example:
        >>> with needs("train", "to fly"):
        ...     import antigravity_2
        Traceback (most recent call last):
        set_aggregation._extras.MissingExtraError: got no antigravity_2, which is needed to fly: pip install \
'set-aggregation[train]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if isinstance(error, MissingExtraError) or (error.name or "").startswith("set_aggregation"):
            raise
        raise MissingExtraError(
            f"got no {error.name}, which is needed {what}: pip install 'set-aggregation[{extra}]'", name=error.name
        ) from error
