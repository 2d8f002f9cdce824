"""How long a grid will take, judged by the runs of it that this command has made so far."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import mean

from reproduction.settings import Settings

Kind = tuple[object, ...]


class TimeLeft:
    """Estimates the time that runs will take from how long an epoch of the others has taken.

    A run counts as one of its kind (data, backbone, aggregator, size), and as the mean of all where there was none.

    Args:
        num_places: how many runs are made at one time.

    Example:
        >>> san, max_pool = (Settings("cifar10", aggregator, 1024, seed=0, epochs=10) for aggregator in ("san", "max"))
        >>> left = TimeLeft(num_places=2)
        >>> left.note(san, seconds_per_epoch=30)
        >>> left.estimate([(san, 10), (max_pool, 4)])
        210.0
    """

    def __init__(self, num_places: int) -> None:
        self.num_places = num_places
        self._seconds: dict[Kind, list[float]] = defaultdict(list)

    def note(self, settings: Settings, seconds_per_epoch: float) -> None:
        """Takes a measurement in.

        Args:
            settings: of the run.
            seconds_per_epoch: that it took.
        """
        self._seconds[_kind(settings)].append(seconds_per_epoch)

    def estimate(self, epochs: Iterable[tuple[Settings, int]]) -> float | None:
        """Seconds that are left, or None where nothing is known.

        Args:
            epochs: the runs that are not made yet, and how many epochs each of them still needs.
        """
        if not self._seconds:
            return None
        of_all = mean(mean(seconds) for seconds in self._seconds.values())
        of_kind = {kind: mean(seconds) for kind, seconds in self._seconds.items()}
        return sum(num * of_kind.get(_kind(settings), of_all) for settings, num in epochs) / self.num_places


def _kind(settings: Settings) -> Kind:
    return settings.data, settings.backbone, settings.aggregator, settings.size, settings.train_sizes
