"""The runs in and below some folders."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from set_aggregation.reports.finished_run import Run, read_run
from set_aggregation.reports.reading import UnusableRunError

_NOT_BELOW_A_RUN = ("checkpoints", "wandb")  # W&B writes a config.yaml of its own


@dataclass(frozen=True)
class Skipped:
    """A folder that is left out.

    Args:
        folder: where it lies.
        reason: why.
    """

    folder: Path
    reason: str


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[Skipped]]:
    """Reads every run in or below some folders, once however often it is named.

    Args:
        folders: folders of runs, and folders that hold such at any depth.

    Returns:
        The runs, and the folders that are left out.
    """
    runs: list[Run] = []
    skipped: list[Skipped] = []
    seen: set[Path] = set()
    for top in folders:
        found = list(_below(top))
        if not found:
            skipped.append(Skipped(top, "got no config.yaml in it or below, expected the folder of a run"))
        for each in found:
            folder = each.folder if isinstance(each, Skipped) else each
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            if isinstance(each, Skipped):
                skipped.append(each)
                continue
            try:
                runs.append(read_run(folder))
            except UnusableRunError as error:
                skipped.append(Skipped(folder, str(error)))
    return runs, skipped


def _below(top: Path) -> Iterator[Path | Skipped]:
    """The folders of runs, and those that cannot be looked into; links are followed, once."""
    waiting, visited = [top], set()
    while waiting:
        folder = waiting.pop()
        if folder.resolve() in visited:
            continue
        visited.add(folder.resolve())
        try:
            inside = sorted(folder.iterdir())
        except OSError as error:
            yield Skipped(folder, f"cannot be read ({error.strerror})")
            continue
        names = {path.name for path in inside}
        is_run = bool(names & {"config.yaml", "results.json"})
        if is_run:
            yield folder
        waiting += [
            path
            for path in reversed(inside)
            if path.is_dir() and not path.name.startswith(".") and not (is_run and path.name in _NOT_BELOW_A_RUN)
        ]
