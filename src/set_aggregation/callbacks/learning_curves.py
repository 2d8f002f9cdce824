"""Accuracy and loss of each epoch on training, validation and test set: what overfitting is seen by."""

import itertools
import time
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from set_aggregation.models.evaluation_mode import evaluation_mode

_SEED = 0  # of the choice of images, which is the same in all runs on the same data


class LearningCurves(Callback):
    r"""Measures a model at the end of each epoch in evaluation mode, as in Figures 3 and 4 of `Maziarka et al. (2018)
    <https://arxiv.org/abs/1810.01868>`_.

    Logs ``curve/train_accuracy``, ``curve/val_accuracy``, ``curve/test_accuracy``, the loss of each (mean cross-entropy
    in nats), and

    .. math::
        \mathrm{curve/gap} = \mathrm{curve/train\_accuracy} - \mathrm{curve/test\_accuracy}.

    Training images are measured like the others: by the weights at the end of the epoch, without augmentation and
    dropout. The values of the validation are those of Lightning's, which has just run; an epoch that it left out has
    none. Nothing here changes the training: no random number is drawn, and the test set chooses nothing.

    Exact however the images are dealt out to ranks.

    Args:
        every_n_epochs: how often to measure; the last of ``max_epochs`` always is. 0 measures nothing.
        num_images: images measured of the training set, and as many of the test set: a random choice, the same each
            epoch and in each run. ``"tenth"`` is a tenth of the number of training images, which takes about 7 % of
            the time of training; ``"all"`` takes all of both sets.

    Attributes:
        history: epochs completed, step and values, of each time it measured.
        seconds: time that took in this process.

    Raises:
        ValueError: a number below 0, or no images.
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
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._loaders: dict[str, DataLoader[Any]] = {}
        self._validated_at = -1
        self._is_training = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that the weights of this step were validated."""
        if not trainer.sanity_checking:
            self._validated_at = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures and logs."""
        epochs = trainer.current_epoch + 1
        if not self.every_n_epochs or (epochs % self.every_n_epochs and epochs != trainer.max_epochs):
            return
        started = time.perf_counter()
        values: dict[str, float] = {}
        for part in ("train", "test"):
            loss, accuracy = self._measure(trainer, pl_module, part)
            values |= {f"curve/{part}_accuracy": accuracy, f"curve/{part}_loss": loss}
        values["curve/gap"] = values["curve/train_accuracy"] - values["curve/test_accuracy"]
        if self._validated_at == trainer.global_step:
            for name in ("accuracy", "loss"):
                values[f"curve/val_{name}"] = float(trainer.callback_metrics[f"val/{name}"])
        for name, value in values.items():
            # All ranks hold the same number; the largest of them is that number, a mean of them is rounded.
            pl_module.log(name, value, sync_dist=True, reduce_fx="max")
        self.history.append({"epoch": epochs, "step": trainer.global_step, **values})
        self.seconds += time.perf_counter() - started

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets go of the loaders, and of the processes that they may have."""
        self._loaders.clear()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Notes what is about to happen."""
        self._is_training = stage == "fit"

    def state_dict(self) -> dict[str, Any]:
        """What was measured, for the checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint; one that is only tested leaves the history alone."""
        if self._is_training:
            self.history = list(state_dict["history"])

    def _loader(self, trainer: Trainer, part: str) -> DataLoader[Any]:
        if part not in self._loaders:
            datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
            num: int | None = None
            if self.num_images == "tenth":
                num = max(1, datamodule.images_per_epoch // 10)
            elif self.num_images != "all":
                num = self.num_images
            self._loaders[part] = datamodule.evaluation_dataloader(part, num, seed=_SEED)
        return self._loaders[part]

    def _measure(self, trainer: Trainer, pl_module: LightningModule, part: str) -> tuple[float, float]:
        """Loss and accuracy on a part of the data."""
        sums = [torch.zeros(3, device=pl_module.device)]  # a rank may have no batch
        with torch.inference_mode(), evaluation_mode(pl_module), trainer.precision_plugin.val_step_context():
            num_batches = trainer.fast_dev_run or None  # type: ignore[attr-defined]
            for batch in itertools.islice(self._loader(trainer, part), num_batches):
                images, labels = trainer.strategy.batch_to_device(batch)
                sums.append(_sums(pl_module(images), labels))
        # On the device up to here, so that no batch waits for the one before it.
        total = torch.stack(sums).cpu().double().sum(0)
        if trainer.world_size > 1:
            total = trainer.strategy.reduce(total.to(pl_module.device), reduce_op="sum")
        loss, right, num = total.tolist()
        return loss / num, right / num


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    loss = F.cross_entropy(logits.float(), labels, reduction="sum")
    return torch.stack([loss, (logits.argmax(1) == labels).sum().float(), loss.new_tensor(len(labels))])
