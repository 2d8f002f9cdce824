"""The folder of a run."""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from set_aggregation.runs.checkpoint import LAST, PREVIOUS, DamagedCheckpointError, read_checkpoint
from set_aggregation.runs.files import warn

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
        self._locks: list[int] = []

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
        then = (
            f"resuming from {newest.name}" if newest else "no intact checkpoint is left, so training starts at epoch 1"
        )
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
                self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
                self._make(config)
            if not self.config_file.exists() or self.config_file.read_text() != config:
                self._write_config(self.folder, config)
        except FileExistsError as error:
            raise ValueError(
                f"got the run folder {self.folder}, but {error.filename} exists; use another --run.name or --run.root, "
                f"or resume the run: --resume {self.folder}"
            ) from error
        except OSError as error:
            raise ValueError(
                f"got the run folder {self.folder}, which cannot be written ({error.strerror}); use another --run.root"
            ) from error

    def _make(self, config: str) -> None:
        """Make the folder in one step, with its configuration and lock: a killed process leaves none or a whole one."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder.with_name(f".{self.name}.{secrets.token_hex(3)}.tmp")
        unfinished.mkdir()
        try:
            self._write_config(unfinished, config)
            if self.folder.exists():  # rename() replaces an empty folder
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.folder))
            unfinished.rename(self.folder)
        except OSError as error:
            self.unlock()
            if error.errno == errno.ENOTEMPTY:  # made by another process in the meantime
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.folder)) from error
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _write_config(self, folder: Path, config: str) -> None:
        """Write the configuration atomically, locked before it is visible."""
        unfinished = folder / ".config.yaml.tmp"
        unfinished.write_text(config)
        self._lock_file(unfinished)
        os.replace(unfinished, folder / self.config_file.name)  # noqa: PTH105

    def lock_or_raise(self) -> None:
        """Prevent other processes from resuming this run, or raise if one is writing it."""
        if not self.lock():
            raise ValueError(f"got the run {self.folder}, which another process is writing; wait for it or stop it")

    def lock(self) -> bool:
        """Return whether this process has the lock, which prevents others from resuming this run."""
        # Without its file there is nothing to lock yet: create() writes and locks it.
        return bool(self._locks) or not self.config_file.exists() or self._lock_file(self.config_file)

    def _lock_file(self, path: Path) -> bool:
        if fcntl is None:
            return True
        file = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError:
            os.close(file)
            return True
        self._locks.append(file)
        os.register_at_fork(after_in_child=self.unlock)  # a worker may outlive this process
        return True

    def unlock(self) -> None:
        """Let other processes resume this run."""
        for file in self._locks:
            with suppress(OSError):
                os.close(file)
        self._locks = []

    def discard(self) -> None:
        """Remove the folder, and the empty folders made for it; keep a folder with a checkpoint."""
        if not self._made or any(self.checkpoints.glob("*")):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self._made[1:]:
            if path.exists() and not any(path.iterdir()):
                path.rmdir()
