"""One run, one folder."""

import errno
import os
import secrets
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from set_aggregation.runs.checkpoint import read_checkpoint
from set_aggregation.runs.checkpoint_io import LAST, PREVIOUS

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where two processes can go on with one run
    fcntl = None  # type: ignore[assignment]


class RunDirectory(Callback):
    """Owns the folder ``<root>/<experiment>/<name>/``, in which everything a run makes lies.

    Args:
        experiment: what the run belongs to; runs of one experiment lie side by side.
        root: the folder of all runs.
        name: of the run; by default the time of its start and six random characters, so that no two runs share a
            folder, however many start at once.
    """

    def __init__(
        self, experiment: str = "default", root: Path = Path("lightning_logs"), name: str | None = None
    ) -> None:
        # Not from Python's random module: runs with one seed would share a name.
        self.name = name or f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"
        self.experiment = experiment
        self.root = Path(root)
        self._config = ""
        self._labels: dict[str, Any] = {}
        self._made: list[Path] = []
        self._locks: list[int] = []

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.root / self.experiment / self.name

    @property
    def config_file(self) -> Path:
        """The complete configuration of the run."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.folder / "checkpoints"

    @property
    def report(self) -> Path:
        """The page of the finished run."""
        return self.folder / "report.html"

    @property
    def results(self) -> Path:
        """What is there when the run has finished."""
        return self.folder / "results.json"

    @property
    def newest_checkpoint(self) -> Path | None:
        """The newest checkpoint to go on from that is whole; a damaged one gives a warning, and the one before it."""
        for path in (self.checkpoints / LAST, self.checkpoints / PREVIOUS):
            if path.exists():
                try:
                    read_checkpoint(path)
                except ValueError as error:
                    warnings.warn(f"{error}: the run goes on from the one before it", stacklevel=1000)
                else:
                    return path
        return None

    def create(self, config: str, labels: Mapping[str, Any] | None = None, is_there: bool = False) -> None:
        """Makes the folder and writes the configuration into it.

        Args:
            config: the complete configuration as YAML.
            labels: what tells the run apart from others, for the loggers.
            is_there: whether to go on with what a run of before has left; the configuration may have changed.

        Raises:
            ValueError: the folder is there already (or another process is at it), or cannot be made.
        """
        self._config, self._labels = config, dict(labels or {})
        try:
            if is_there:
                self.lock_or_raise()
                self.results.unlink(missing_ok=True)
            else:
                self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
                self._make(config)
            if self.config_file.read_text() != config:
                self._write_config(self.folder, config)
        except FileExistsError as error:
            raise ValueError(
                f"got the run folder {self.folder}, where {error.filename} is there already; expected one that is not: "
                "give another --run.name or --run.root, or go on with it: --resume"
            ) from error
        except OSError as error:
            raise ValueError(
                f"got the run folder {self.folder}, which cannot be written ({error.strerror}); give another --run.root"
            ) from error

    def _make(self, config: str) -> None:
        """Makes the folder at once, with its configuration and locked: whenever this process is killed, it is not
        there or can be gone on with, and of several processes that want it one gets it."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder.with_name(f".{self.name}.{secrets.token_hex(3)}.tmp")
        unfinished.mkdir()
        try:
            self._write_config(unfinished, config)
            if self.folder.exists():
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            unfinished.rename(self.folder)
        except OSError as error:
            self.unlock()
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.folder)) from error
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _write_config(self, folder: Path, config: str) -> None:
        """Writes it at once, and locks it before anybody can see it."""
        unfinished = folder / ".config.yaml.tmp"
        unfinished.write_text(config)
        self._lock_file(unfinished)
        os.replace(unfinished, folder / self.config_file.name)  # noqa: PTH105

    def lock_or_raise(self) -> None:
        """Keeps other processes from going on with this run.

        Raises:
            ValueError: one is at it.
        """
        if not self.lock():
            raise ValueError(f"got the run {self.folder}, which another process is writing; expected one that is not")

    def lock(self) -> bool:
        """Keeps other processes from going on with this run as long as this one lives.

        Returns:
            Whether no other one is at it. Where files cannot be locked it is taken to be so.
        """
        return bool(self._locks) or self._lock_file(self.config_file)

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
        os.register_at_fork(after_in_child=self.unlock)  # a worker may live longer than this process
        return True

    def unlock(self) -> None:
        """Lets other processes go on with this run."""
        for file in self._locks:
            with suppress(OSError):
                os.close(file)
        self._locks = []

    def discard(self) -> None:
        """Takes the folder away again, with those above it that were made for it and hold nothing else."""
        if not self._made:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self._made[1:]:
            if path.exists() and not any(path.iterdir()):
                path.rmdir()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the complete configuration to the loggers."""
        if stage == "fit" and self._config and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_hyperparams({**yaml.safe_load(self._config), "labels": self._labels})
