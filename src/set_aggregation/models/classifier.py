"""The LightningModule: backbone, feature set, aggregator and head, trained to classify images."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from set_aggregation.aggregators import Aggregator
from set_aggregation.aggregators.factory import build_aggregator
from set_aggregation.backbones import Backbone
from set_aggregation.models.evaluation_mode import evaluation_mode
from set_aggregation.models.fused_optimizer import fused
from set_aggregation.models.head import Head
from set_aggregation.pooling.feature_set import FeatureSet, Positions

Batch = tuple[Float[Tensor, "B C H W"], Int[Tensor, "B"]]


class SetClassifier(LightningModule):
    r"""Classifies images by aggregating the feature map of a backbone as a set.

    .. math::
        \mathrm{logits} = \mathrm{head}(\mathrm{aggregator}(\mathrm{set}(\mathrm{backbone}(\mathrm{image}))))

    Trained with cross-entropy. Logs ``train/loss`` and ``train/accuracy`` (of the batch, every
    ``Trainer(log_every_n_steps)`` steps) and loss and accuracy of the whole split under ``val/`` and ``test/``.

    Args:
        backbone: the network that makes the feature map.
        aggregator: called with the number D of channels of the feature map, gives the aggregator: a class, or
            ``functools.partial(SAN, out_features=1024)``. ``position_features`` and ``set_size``, where the
            aggregator takes them and they are not given, are filled in.
        num_classes: number K of classes.
        image_size: height and width of the images in pixels, where all have one size. Aggregators for sets
            of one size need it.
        positions: the positions that :class:`~set_aggregation.pooling.feature_set.FeatureSet` makes.
        hidden_features: width of the head's hidden layer; None leaves it out.
        hidden_activation: what follows the hidden layer.
        dropout: probability of dropping each input of the last dense layer.
        initialization: ``"torch"`` leaves the layers as they were built, ``"glorot"`` draws all dense and
            convolutional weights from Glorot's uniform distribution and sets the biases to zero, as the authors'
            code does.
        optimizer: called with the parameters, gives the optimiser; Adam at 1e-3 by default, as in the paper. It is
            a fused one where torch has that for it and the device, unless it was told ``fused`` or ``foreach``.
        scheduler: called with the optimiser, gives the learning-rate schedule.
        scheduler_interval: whether the schedule advances each ``"epoch"`` or each ``"step"``.
        compile: run the network through ``torch.compile``, once for images of all sizes (before torch 2.15, where
            pooling rounds up, once for each pattern of odd and even sizes). It fails rather than fall back to slow
            code; for that ``torch._dynamo.config.recompile_limit`` is raised to 64.

    Shape:
        - input: images :math:`(B, C, H, W)`.
        - output: logits :math:`(B, K)`.

    Raises:
        ValueError: an aggregator built for other sets than the backbone and the positions make, or (in ``setup``)
            than the images of the data module make.

    Example:
        >>> from functools import partial
        >>> from set_aggregation.aggregators import SAN
        >>> from set_aggregation.backbones import SmallCNN
        >>> model = SetClassifier(SmallCNN(in_channels=3), partial(SAN, out_features=128), num_classes=10)
        >>> model(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 10])
    """

    def __init__(
        self,
        backbone: Backbone,
        aggregator: Callable[[int], Aggregator],
        num_classes: int,
        image_size: tuple[int, int] | None = None,
        positions: Positions = "linear",
        hidden_features: int | None = None,
        hidden_activation: Literal["none", "relu"] = "none",
        dropout: float = 0.0,
        initialization: Literal["torch", "glorot"] = "torch",
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        compile: bool = False,  # noqa: A002
    ) -> None:
        super().__init__()
        if _given_hyperparameters.get() is not None:
            # From the command line: class paths and plain values, from which load_from_checkpoint rebuilds all.
            # From Python there are only the objects, which weights_only=True would refuse to read back.
            self.save_hyperparameters(logger=False)
        self.backbone = backbone
        self.feature_set = FeatureSet(positions)
        sizes = {"position_features": self.feature_set.position_features}
        if image_size is not None:
            sizes["set_size"] = _empty_feature_map(backbone, image_size).shape[2:].numel()
        self.aggregator = build_aggregator(aggregator, backbone.out_features, sizes)
        self.head = Head(self.aggregator.out_features, num_classes, hidden_features, hidden_activation, dropout)
        if initialization == "glorot" and backbone.is_pretrained:
            raise ValueError(
                f"SetClassifier: got initialization='glorot', which would overwrite the pretrained weights of "
                f"{type(backbone).__name__}; expected initialization='torch'"
            )
        if initialization == "glorot":
            self.apply(_glorot_uniform_)
        # As the images of a batch come: DDP copies gradients whose memory format is not that of the weights.
        self.backbone.to(memory_format=torch.channels_last)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.compile_forward = compile
        self._compile_if_asked()

        accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.val_accuracy, self.val_loss = accuracy, _MeanLoss()
        self.test_accuracy, self.test_loss = accuracy.clone(), _MeanLoss()

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Computes the logits."""
        elements, positions = self.feature_set(self.backbone(images.to(self.dtype)))  # B N D, N P
        if not self.aggregator.uses_positions:
            positions = None
        return self.head(self.aggregator(elements, positions=positions))

    def setup(self, stage: str) -> None:
        """Refuses images of sizes that the aggregator cannot take; compiles, if asked to."""
        self._compile_if_asked()  # copies are not compiled
        for loss in (self.val_loss, self.test_loss):
            loss.set_dtype(torch.float32 if self.device.type == "mps" else torch.float64)
        self.check_image_sizes(getattr(getattr(self.trainer, "datamodule", None), "image_sizes", {}))

    def check_image_sizes(self, image_sizes: Mapping[str, Iterable[tuple[int, int]]]) -> None:
        """Refuses images of sizes that the aggregator cannot take.

        Args:
            image_sizes: height and width of the images of each part of the data.

        Raises:
            ValueError: sets of several sizes for an aggregator that takes one.
        """
        sizes = sorted({size for part in image_sizes.values() for size in part})
        expected = getattr(self.aggregator, "set_size", None)
        if self.aggregator.any_set_size or expected is None:
            return
        if any(_empty_feature_map(self.backbone, size).shape[2:].numel() != expected for size in sizes):
            raise ValueError(
                f"{type(self.aggregator).__name__}: got images of {', '.join(f'{h}x{w}' for h, w in sizes)}, expected "
                f"one size, whose feature map has {expected} elements; use an aggregator for sets of any size, such as "
                "SAN, GlobalAvgPool or GlobalMaxPool"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Says what the images are: a checkpoint is all that is needed to use the model."""
        if (images := getattr(getattr(self.trainer, "datamodule", None), "image_description", None)) is not None:
            checkpoint["images"] = images

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what was compiled: a copy that had it would compute with the weights of the original."""
        return {name: value for name, value in super().__getstate__().items() if name != "_compiled_call_impl"}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Gives the loss and the accuracy of a batch."""
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        # Each step, self.log would take a good part of what Lightning does beside the model; and with prog_bar=True it
        # would wait for the device. ProgressBar shows what is given back.
        if self.trainer._logger_connector.should_update_logs or self.trainer.fast_dev_run or self.trainer.is_last_batch:  # type: ignore[attr-defined]
            self.log_dict({"train/loss": loss, "train/accuracy": accuracy})
        return {"loss": loss, "accuracy": accuracy}

    def validation_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, "B K"]:
        """Counts a batch of the validation set, and gives its logits."""
        return self._evaluate(batch, "val", self.val_loss, self.val_accuracy)

    def test_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, "B K"]:
        """Counts a batch of the test set, and gives its logits."""
        return self._evaluate(batch, "test", self.test_loss, self.test_accuracy)

    def predict_step(self, batch: tuple[Float[Tensor, "B C H W"]], batch_idx: int) -> Float[Tensor, "B K"]:
        """Gives the probability of each class for each image."""
        return self(batch[0]).softmax(1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Builds the optimiser and the schedule."""
        optimizer = self.optimizer(self.parameters())
        # A fused optimiser takes the scale of 16-bit gradients out itself, and Lightning could not clip them before.
        if self._trainer is None or getattr(self.trainer.precision_plugin, "scaler", None) is None:
            optimizer = fused(optimizer)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        settings: dict[str, Any] = {"scheduler": scheduler, "interval": self.scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            settings["monitor"] = scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": settings}  # type: ignore[return-value]

    def _compile_if_asked(self) -> None:
        if self.compile_forward and self._compiled_call_impl is None:
            # fullgraph=True makes an error of what torch would else do in silence: after eight recompilations it runs
            # what is not compiled. dynamic=True makes one program for all sizes; torch 2.11 makes one for each pattern
            # of odd and even sizes that the poolings of SmallCNN meet, which may be more than eight.
            torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
            self.compile(dynamic=True, fullgraph=True)

    def _evaluate(self, batch: Batch, split: str, loss: Metric, accuracy: Metric) -> Tensor:
        images, labels = batch
        logits = self(images)
        # Metrics, not means over batches: exact when batches differ in size or lie on several ranks.
        loss.update(F.cross_entropy(logits, labels, reduction="none"))
        accuracy.update(logits, labels)
        self.log(f"{split}/loss", loss, prog_bar=split == "val")
        self.log(f"{split}/accuracy", accuracy, prog_bar=True)
        return logits


class _MeanLoss(MeanMetric):
    """The mean of many losses, summed in double precision: the same however ranks share out the images."""

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")  # to look for NaN in each batch is to wait for the device

    def compute(self) -> Tensor:
        return super().compute().float()


@torch.no_grad()
def _empty_feature_map(backbone: Backbone, image_size: tuple[int, int]) -> Float[Tensor, "1 D h w"]:
    like = next(backbone.parameters(), torch.empty(0))
    with evaluation_mode(backbone):
        return backbone(torch.zeros(1, backbone.in_channels, *image_size, dtype=like.dtype, device=like.device))


def _glorot_uniform_(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
