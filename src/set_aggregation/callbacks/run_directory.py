"""One run, one folder."""

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

from set_aggregation.checkpoint_file import read_checkpoint
from set_aggregation.checkpoint_io import LAST, PREVIOUS

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
        self._lock: int | None = None

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
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                self.folder.mkdir()
            if not is_there or self.config_file.read_text() != config:
                self.config_file.write_text(config)
            self.lock()
        except FileExistsError as error:
            raise ValueError(
                f"got the run folder {self.folder}, where {error.filename} is there already; expected one that is not: "
                "give another --run.name or --run.root, or go on with it: --resume"
            ) from error
        except OSError as error:
            raise ValueError(
                f"got the run folder {self.folder}, which cannot be written ({error.strerror}); give another --run.root"
            ) from error

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
        if fcntl is None or self._lock is not None:
            return True
        file = os.open(self.config_file, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError:
            os.close(file)
            return True
        self._lock = file
        os.register_at_fork(after_in_child=self.unlock)  # a worker may live longer than this process
        return True

    def unlock(self) -> None:
        """Lets other processes go on with this run."""
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)
            self._lock = None

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
