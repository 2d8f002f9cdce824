"""The folder of a run, and the choice of the run to resume."""

import os
import secrets
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

import yaml

from set_aggregation.runs.checkpoint import LAST, PREVIOUS, DamagedCheckpointError, read_checkpoint
from set_aggregation.runs.files import atomic_write, warn
from set_aggregation.runs.settings import HARDWARE, IRRELEVANT, changed, settings_of

try:
    import fcntl
except ModuleNotFoundError:  # Windows has no locks: two processes can write one run
    fcntl = None  # type: ignore[assignment]


class RunDirectory:
    """The folder ``<root>/<experiment>/<name>/`` with every file of a run.

    Args:
        experiment: group of runs, whose folders are siblings.
        root: folder of all experiments.
        name: name of the run; by default the start time and six random characters, so that simultaneous runs differ.
    """

    def __init__(
        self, experiment: str = "default", root: Path = Path("lightning_logs"), name: str | None = None
    ) -> None:
        # secrets instead of random: runs with equal seeds would get the same name.
        self.name = name or f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"
        self.experiment = experiment
        self.root = Path(root)
        self.folder = self.root / experiment / self.name
        self.checkpoints = self.folder / "checkpoints"
        self.config_file = self.folder / "config.yaml"
        self.report = self.folder / "report.html"
        self.results = self.folder / "results.json"  # a run with this file has finished
        self._made: list[Path] = []
        self._lock: int | None = None

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Return the run in a folder."""
        return cls(folder.parent.name, folder.parent.parent, folder.name)

    @property
    def exists(self) -> bool:
        """Return whether the folder holds a run, also without its ``config.yaml``."""
        return self.config_file.is_file() or self.checkpoints.is_dir()

    def newest_checkpoint(self) -> Path | None:
        """Return the newest intact checkpoint to resume from, and warn about damaged ones."""
        damaged, newest = [], None
        for path in (self.checkpoints / LAST, self.checkpoints / PREVIOUS):
            if newest is None and path.exists():
                try:
                    read_checkpoint(path)
                    newest = path
                except DamagedCheckpointError as error:
                    damaged.append(str(error))
        then = f"resuming from {newest.name}" if newest else "no intact checkpoint is left; training starts at epoch 1"
        for message in damaged:
            warn(f"{message}; {then}")
        return newest

    def create(self, config: str, resume: bool = False) -> None:
        """Make the folder or use that of an earlier run, lock it and write the configuration."""
        try:
            if resume:
                self.lock_or_raise()
                self.results.unlink(missing_ok=True)
            else:
                new = [path for path in self.folder.parents if not path.exists()]
                self.folder.mkdir(parents=True, exist_ok=True)
                # Hidden files are all that a process leaves that is killed here.
                has_files = any(path.name[0] != "." for path in self.folder.iterdir())
                if has_files or not self.lock() or self.config_file.exists():
                    raise FileExistsError
                self._made = [self.folder, *new]
            if not self.config_file.exists() or self.config_file.read_text() != config:
                with atomic_write(self.config_file) as temporary:
                    temporary.write_text(config)
        except OSError as error:
            self.discard()
            self.unlock()
            reason = f"cannot be written ({error.strerror}); use another --run.root"
            if isinstance(error, FileExistsError):
                reason = f"exists; use another --run.name or --run.root, or resume the run: --resume {self.folder}"
            raise ValueError(f"got the run folder {self.folder}, which {reason}") from error

    def lock_or_raise(self) -> None:
        """Prevent other processes from resuming this run, or raise if one is writing it."""
        if not self.lock():
            raise ValueError(f"got the run {self.folder}, which another process is writing; wait for it or stop it")

    def lock(self) -> bool:
        """Return whether this process has the lock, which prevents others from resuming this run."""
        if self._lock is None and fcntl is not None and self.folder.is_dir():
            file = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            except OSError:
                pass  # the file system has no locks
            self._lock = file
            os.register_at_fork(after_in_child=self.unlock)  # a worker may outlive this process
        return True

    def unlock(self) -> None:
        """Let other processes resume this run."""
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)
        self._lock = None

    def discard(self) -> None:
        """Remove the folder, and the empty folders made for it; keep a folder with a checkpoint."""
        if not self._made or any(self.checkpoints.glob("*")):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self._made:
            if path.exists() and not any(path.iterdir()):
                path.rmdir()


def find_run(resume: Literal["auto"] | Path | None, asked: RunDirectory, has_name: bool, config: str) -> RunDirectory:
    """Return the run that a command writes."""
    if resume is None:
        return asked
    if resume != "auto":
        folder = Path(resume)
        run = RunDirectory.at(folder if folder.parent.parent.name else folder.absolute())
        if not run.exists:
            raise ValueError(f"got --resume {resume}, expected the folder of a run, with its config.yaml, or auto")
        return run
    if has_name:
        if asked.exists and not asked.config_file.exists():
            warn(f"{asked.config_file} is missing; resuming with the configuration of this command")
        elif asked.exists and (other := _differences(asked.config_file, config)):
            raise ValueError(
                f"got --resume auto for the run {asked.folder}, which has other {', '.join(other)}; use the same "
                f"configuration, another --run.name, or --resume {asked.folder} to resume it with the new one"
            )
        return asked
    files = (asked.root / asked.experiment).glob("[!.]*/config.yaml")
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        run = RunDirectory.at(file.parent)
        if not run.results.exists() and not _differences(file, config) and run.lock():
            return run
    return asked


def _differences(file: Path, config: str) -> list[str]:
    """Return the settings in which two configurations differ, among those that can change a result."""
    try:
        configs = [yaml.safe_load(text) for text in (file.read_text(), config)]
    except (OSError, yaml.YAMLError):
        return ["config.yaml"]
    return changed(*(settings_of(each, (*IRRELEVANT, *HARDWARE)) for each in configs))
