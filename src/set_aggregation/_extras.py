"""Optional dependencies."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtraError(ModuleNotFoundError):
    """Error for a missing package that an extra of this project installs."""


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Name the extra that installs a package that cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        if isinstance(error, MissingExtraError) or (error.name or "").startswith("set_aggregation"):
            raise
        raise MissingExtraError(
            f"got no {error.name}, which is needed {what}: pip install 'set-aggregation[{extra}]'", name=error.name
        ) from error
