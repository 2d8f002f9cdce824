"""Learning curves: accuracy and loss of each epoch on the training, validation and test set."""

import itertools
import time
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from set_aggregation.backbones.base import evaluation_mode
from set_aggregation.runs.files import atomic_write, warn

_PLOTTING = 0.02  # largest share of the training time


class LearningCurves(Callback):
    """Measure a model in evaluation mode at the end of each epoch, as in Figures 3 and 4 of `Maziarka et al. (2018)
    <https://arxiv.org/abs/1810.01868>`_.

    Logs ``curve/train_accuracy``, ``curve/val_accuracy``, ``curve/test_accuracy``, the loss of each (mean cross-entropy
    in nats), and ``curve/gap``, the training accuracy less the test accuracy.

    Training images are measured with the weights at the end of the epoch, without augmentation and dropout. The values
    of the validation are those of Lightning's validation of these weights; an epoch without one has none. Training does
    not change: no random number is drawn, and the test set selects nothing. Exact for any distribution of the images
    over ranks.

    Args:
        every_n_epochs: period; the last of ``max_epochs`` is always measured. 0 measures nothing.
        num_images: size of the random subset of the training set, and of that of the test set, the same in each epoch
            and run. ``"tenth"`` is a tenth of the training images, which takes about 7 % of the training time;
            ``"all"`` takes both sets.
    """

    def __init__(self, every_n_epochs: int = 1, num_images: int | Literal["tenth", "all"] = "tenth") -> None:
        if every_n_epochs < 0:
            raise ValueError(f"LearningCurves: got every_n_epochs={every_n_epochs}, expected at least 0")
        if num_images not in ("tenth", "all") and (isinstance(num_images, str) or num_images < 1):
            raise ValueError(
                f"LearningCurves: got num_images={num_images!r}, expected 'tenth', 'all' or a number of at least 1"
            )
        self.every_n_epochs = every_n_epochs
        self.num_images = num_images
        self.history: list[dict[str, float]] = []  # epochs, step and values of each measurement
        self.file: Path | None = None  # figure of the history
        self.seconds = 0.0  # of measuring and plotting in this process
        self._loaders: dict[str, DataLoader[Any]] = {}
        self._validated_at = -1
        self._is_training = True
        self._num_plotted, self._next_plot = 0, 0.0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the step of the validation."""
        if not trainer.sanity_checking:
            self._validated_at = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, log and plot, unless the last plot is too recent."""
        started, epochs = time.perf_counter(), trainer.current_epoch + 1
        if self.every_n_epochs and (epochs % self.every_n_epochs == 0 or epochs == trainer.max_epochs):
            values: dict[str, float] = {}
            for split in ("train", "test"):
                loss, accuracy = self._measure(trainer, pl_module, split)
                values |= {f"curve/{split}_accuracy": accuracy, f"curve/{split}_loss": loss}
            values["curve/gap"] = values["curve/train_accuracy"] - values["curve/test_accuracy"]
            if self._validated_at == trainer.global_step:
                for name in ("accuracy", "loss"):
                    values[f"curve/val_{name}"] = float(trainer.callback_metrics[f"val/{name}"])
            # The values are the same on all ranks; the maximum keeps them, a mean would round them.
            pl_module.log_dict(values, sync_dist=True, reduce_fx="max")
            self.history.append({"epoch": epochs, "step": trainer.global_step, **values})
            self.seconds += time.perf_counter() - started
        if time.perf_counter() >= self._next_plot:
            self._plot(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the last epochs, and release the loaders and their worker processes."""
        self._plot(trainer)
        self._loaders.clear()

    def _plot(self, trainer: Trainer) -> None:
        """Replace the figure atomically; if it cannot be written, warn once."""
        if self.file is None or len(self.history) == self._num_plotted or not trainer.is_global_zero:
            return
        started = time.perf_counter()
        from set_aggregation.reports.curves import run_figure  # matplotlib takes a second

        try:
            with atomic_write(self.file) as temporary:
                run_figure(self.history).savefig(temporary, format="png", dpi=100)
        except OSError as error:
            warn(f"got {self.file}, which cannot be written ({error}); training continues without it")
            self.file = None
        self._num_plotted = len(self.history)
        seconds = time.perf_counter() - started
        self.seconds += seconds
        self._next_plot = started + seconds + seconds / _PLOTTING

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the stage."""
        self._is_training = stage == "fit"

    def state_dict(self) -> dict[str, Any]:
        """Return the history for a checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the history, unless the checkpoint is only tested."""
        if self._is_training:
            self.history = list(state_dict["history"])

    def _measure(self, trainer: Trainer, pl_module: LightningModule, split: str) -> tuple[float, float]:
        """Return loss and accuracy on a split."""
        if split not in self._loaders:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            named: dict[Any, int | None] = {"tenth": max(1, data.images_per_epoch // 10), "all": None}
            num_images = named.get(self.num_images, self.num_images)
            self._loaders[split] = data.evaluation_dataloader(split, num_images)  # equal in all runs on the same data
        sums = [torch.zeros(3, device=pl_module.device)]  # a rank may have no batch
        with torch.inference_mode(), evaluation_mode(pl_module), trainer.precision_plugin.val_step_context():
            num_batches = trainer.fast_dev_run or None  # type: ignore[attr-defined]
            for batch in itertools.islice(self._loaders[split], num_batches):
                images, labels = trainer.strategy.batch_to_device(batch)
                logits = pl_module(images)
                loss = F.cross_entropy(logits.float(), labels, reduction="sum")
                correct = (logits.argmax(1) == labels).sum().float()
                sums.append(torch.stack([loss, correct, loss.new_tensor(len(labels))]))
        # On the device until here, so that no batch waits for the previous one.
        total = torch.stack(sums).cpu().double().sum(0)
        if trainer.world_size > 1:
            total = trainer.strategy.reduce(total.to(pl_module.device), reduce_op="sum")
        sum_of_losses, num_correct, num = total.tolist()
        return sum_of_losses / num, num_correct / num
