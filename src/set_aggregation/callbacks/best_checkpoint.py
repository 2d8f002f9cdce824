"""The checkpoint of the best epoch."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from set_aggregation.runs.files import atomic_write

_BEST = "best"


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, whose file ``best.ckpt`` is the best one for any ``save_top_k``.

    With several files each is named by its epoch, counted from 1, and ``best.ckpt`` is a hard link to the best of them.
    This class distinguishes it from a ModelCheckpoint that the user adds.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Name the files."""
        if self.save_top_k not in (0, 1) and self.filename == _BEST:
            self.filename = "{epoch}"
        super().setup(trainer, pl_module, stage)

    def format_checkpoint_name(self, metrics: dict[str, Tensor], *args: Any, **kwargs: Any) -> str:
        """Return the path of a checkpoint, with the epoch counted from 1."""
        if "epoch" in metrics:
            metrics = {**metrics, "epoch": metrics["epoch"] + 1}
        return super().format_checkpoint_name(metrics, *args, **kwargs)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the checkpoint, and link the best one."""
        super().on_validation_end(trainer, pl_module)
        self.link_best(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the checkpoint, and link the best one."""
        super().on_train_epoch_end(trainer, pl_module)
        self.link_best(trainer)

    def link_best(self, trainer: Trainer) -> None:
        """Make ``best.ckpt`` a link to the best file."""
        if not trainer.is_global_zero or not Path(self.best_model_path).is_file():
            return
        file = Path(self.best_model_path)
        best = file.with_name(f"{_BEST}{self.FILE_EXTENSION}")
        if not (best.exists() and best.samefile(file)):
            with atomic_write(best) as temporary:
                temporary.unlink(missing_ok=True)
                os.link(file, temporary)
