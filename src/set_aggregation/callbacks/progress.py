"""The progress bar."""

import sys

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import ProgressColumn

from set_aggregation.callbacks.throughput import Throughput


class ProgressBar(RichProgressBar):
    """Lightning's rich progress bar with images per second in place of steps per second.

    Where the output is no terminal (a log file, a cluster's job), one line per epoch is written instead.

    Args:
        throughput: the callback that measures the images per second.
    """

    def __init__(self, throughput: Throughput) -> None:
        super().__init__()
        self.throughput = throughput

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """All of Lightning's columns but the last, the speed in steps."""
        columns: list[ProgressColumn] = super().configure_columns(trainer)[:-1]
        return columns

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Loss and accuracy, images per second; not the version number, which is the folder's name."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if trainer.training:
            metrics["images/s"] = f"{self.throughput.images_per_second:,.0f}"
        return metrics

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Chooses between the bar and the lines."""
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the line where there is no terminal."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero and not sys.stdout.isatty():
            metrics = "  ".join(
                f"{name} {float(value):.4f}" for name, value in sorted(trainer.progress_bar_metrics.items())
            )
            print(  # noqa: T201
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {metrics}  "
                f"{self.throughput.images_per_second:,.0f} images/s",
                flush=True,
            )
