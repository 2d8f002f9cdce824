"""One run, one folder."""

import secrets
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer


class RunDirectory(Callback):
    """Owns the folder ``<root>/<experiment>/<name>/``, in which everything a run makes lies.

    Args:
        experiment: what the run belongs to; runs of one experiment lie side by side.
        root: the folder of all runs.
        name: of the run; by default the time of its start and six random characters, so that no two runs share a
            folder, however many start at once.

    Attributes:
        folder: the folder of the run.
    """

    def __init__(
        self, experiment: str = "default", root: Path = Path("lightning_logs"), name: str | None = None
    ) -> None:
        # Not from Python's random module: runs with one seed would share a name.
        self.name = name or f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"
        self.experiment = experiment
        self.root = Path(root)
        self.folder = self.root / experiment / self.name
        self._config = ""
        self._labels: dict[str, Any] = {}
        self._made: list[Path] = []

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

    def create(self, config: str, labels: Mapping[str, Any] | None = None) -> None:
        """Makes the folder and writes the configuration into it.

        Args:
            config: the complete configuration as YAML.
            labels: what tells the run apart from others, for the loggers.

        Raises:
            ValueError: the folder is there already, or cannot be made.
        """
        self._config, self._labels = config, dict(labels or {})
        self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir()
            self.config_file.write_text(config)
        except FileExistsError as error:
            raise ValueError(
                f"got the run folder {self.folder}, where {error.filename} is there already; expected one that is not: "
                "give another --run.name or --run.root"
            ) from error
        except OSError as error:
            raise ValueError(
                f"got the run folder {self.folder}, which cannot be written ({error.strerror}); give another --run.root"
            ) from error

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
