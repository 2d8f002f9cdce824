"""The LightningModule of image classification: backbone, feature set, aggregator and head."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from set_aggregation.aggregators import Aggregator
from set_aggregation.aggregators.factory import build_aggregator
from set_aggregation.backbones.base import Backbone, evaluation_mode
from set_aggregation.models.head import Head
from set_aggregation.models.initialization import glorot_uniform_, take_weights
from set_aggregation.models.loss import MeanLoss, check_loss
from set_aggregation.models.schedule import build_schedule
from set_aggregation.pooling import FeatureSet, Pool2d
from set_aggregation.pooling.feature_set import Positions
from set_aggregation.runs._lightning import is_built_by_cli
from set_aggregation.runs.checkpoint import read_checkpoint

Batch = tuple[Float[Tensor, "B C H W"], Int[Tensor, "B"] | Float[Tensor, "B K"]]  # classes, or shares of them


class SetClassifier(LightningModule):
    r"""Image classifier that aggregates the feature map of a backbone as a set.

    .. math::
        \mathrm{logits} = \mathrm{head}(\mathrm{aggregator}(\mathrm{set}(\mathrm{backbone}(\mathrm{image}))))

    Logs loss, accuracy and learning rate of a batch under ``train/`` every ``Trainer(log_every_n_steps)`` steps, and
    loss and accuracy of the whole split under ``val/`` and ``test/``.

    Args:
        backbone: network that computes the feature map.
        aggregator: factory of the aggregator, called with the number D of channels: a class, or
            ``functools.partial(SAN, out_features=1024)``. ``position_features`` and ``set_size`` are filled in.
        num_classes: number K of classes.
        image_size: height and width of the images in pixels, if all have one size. Aggregators for sets of one size
            need it.
        positions: positions of the elements, see :class:`~set_aggregation.pooling.feature_set.FeatureSet`.
        hidden_features: width of the head's hidden layer; None for no hidden layer.
        hidden_activation: activation of the hidden layer.
        dropout: probability of dropping each input of the last dense layer.
        initialization: ``"torch"`` keeps the initial weights of the layers; ``"glorot"`` draws dense and convolutional
            weights from Glorot's uniform distribution and sets biases to zero, as the authors' code does.
        init_from: checkpoint to start from. Weights whose name and shape fit are copied before training; the others
            are listed, for instance the last layer of another number of classes.
        loss: module that computes the loss of logits (B, K) and labels (B,); None for ``nn.CrossEntropyLoss()``.
        optimizer: factory of the optimizer, called with the parameters that require gradients; by default Adam at
            1e-3, as in the paper.
        decay_norms_and_biases: whether ``weight_decay`` of the optimizer acts on biases, norms and other parameters of
            fewer than two dimensions.
        scheduler: factory of the learning-rate schedule, called with the optimizer; ``total_steps`` is filled in.
        scheduler_interval: whether the schedule advances each ``"epoch"`` or each ``"step"``; None for each step if
            it takes ``total_steps``, otherwise each epoch.
        compile: run the network through ``torch.compile``, once for images of all sizes; it fails rather than fall
            back to slow code.

    Shape:
        - input: images :math:`(B, C, H, W)`.
        - output: logits :math:`(B, K)`.

    Raises:
        ValueError: the aggregator is for other sets than those of the backbone, the positions or (in ``setup``) the
            images; or no weight in ``init_from`` fits (in ``setup``).

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
        init_from: str | None = None,
        loss: nn.Module | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        decay_norms_and_biases: bool = True,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] | None = None,
        compile: bool = False,  # noqa: A002
    ) -> None:
        super().__init__()
        if is_built_by_cli():
            # Class paths and plain values, from which load_from_checkpoint rebuilds the model. Built in Python, the
            # arguments are objects, which weights_only=True would refuse to read.
            self.save_hyperparameters(logger=False)
        self.backbone = backbone
        sizes = {"position_features": FeatureSet(positions).position_features}
        if image_size is not None:
            sizes["set_size"] = _set_size(backbone, image_size)
        self.pool = Pool2d(build_aggregator(aggregator, backbone.out_features, sizes), positions)
        self.head = Head(self.pool.out_features, num_classes, hidden_features, hidden_activation, dropout)
        if initialization == "glorot":
            if backbone.is_pretrained:
                raise ValueError("SetClassifier: got initialization='glorot' and pretrained weights, expected 'torch'")
            self.apply(glorot_uniform_)
        # The memory format of the batches: DDP copies gradients of another memory format than the weights'.
        self.backbone.to(memory_format=torch.channels_last)
        self.init_from = init_from
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        check_loss(self.loss, num_classes)
        self.optimizer = optimizer
        self.decay_norms_and_biases = decay_norms_and_biases
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.compile_forward = compile
        self.training_description: dict[str, Any] = {}  # plain values for the model card, stored in checkpoints
        self._compile_if_asked()
        # Now and by name, because FSDP makes all parameters one-dimensional.
        self._norms_and_biases = {name for name, parameter in self.named_parameters() if parameter.ndim < 2}

        accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.val_accuracy, self.val_loss = accuracy, MeanLoss()
        self.test_accuracy, self.test_loss = accuracy.clone(), MeanLoss()

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Return the logits."""
        images = images.to(self.head.classifier.weight.dtype)  # self.dtype misses a .half() of a parent module
        return self.head(self.pool(self.backbone(images)))

    @property
    def aggregator(self) -> Aggregator:
        """The aggregator of the pooling layer."""
        return self.pool.aggregator

    def setup(self, stage: str) -> None:
        """Check the image sizes, load the weights of ``init_from``, and compile the network if ``compile`` is set."""
        self.check_image_sizes(getattr(getattr(self.trainer, "datamodule", None), "image_sizes", {}))
        if stage == "fit" and self.init_from is not None:
            left_out = take_weights(self, read_checkpoint(Path(self.init_from))["state_dict"])
            rank_zero_info(f"Initial weights from {self.init_from}; left out: {', '.join(left_out) or 'none'}")
        self._compile_if_asked()  # copies are not compiled
        for loss in (self.val_loss, self.test_loss):
            loss.set_dtype(torch.float32 if self.device.type == "mps" else torch.float64)

    def check_image_sizes(self, image_sizes: Mapping[str, Iterable[tuple[int, int]]]) -> None:
        """Refuse images of each split that give sets of sizes that the aggregator cannot take."""
        sizes = sorted({size for part in image_sizes.values() for size in part})
        expected = None if self.aggregator.any_set_size else getattr(self.aggregator, "set_size", None)
        if expected and any(_set_size(self.backbone, size) != expected for size in sizes):
            raise ValueError(
                f"{type(self.aggregator).__name__}: got images of {', '.join(f'{h}x{w}' for h, w in sizes)}, expected "
                f"one size, whose feature map has {expected} elements; use an aggregator for sets of any size, such as "
                "SAN, GlobalAvgPool or GlobalMaxPool"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the values that :func:`set_aggregation.load` needs in addition to the weights."""
        images = dict(getattr(getattr(self.trainer, "datamodule", None), "image_description", {}))
        checkpoint["training"] = {**images.pop("training", {}), **self.training_description}
        if images:
            checkpoint["images"] = images

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the compiled network: in a copy it would compute with the weights of the original."""
        return {name: value for name, value in super().__getstate__().items() if name != "_compiled_call_impl"}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return loss and accuracy of a batch."""
        images, labels = batch
        logits = self(images)
        loss = self.loss(logits, labels)
        classes = labels if labels.ndim == 1 else labels.argmax(1)
        accuracy = (logits.detach().argmax(1) == classes).float().mean()
        # self.log in every step would take a large part of Lightning's time beside the model, and prog_bar=True would
        # wait for the device. ProgressBar shows what this method returns.
        trainer = self.trainer
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (every and (self.global_step + 1) % every == 0) or trainer.fast_dev_run or trainer.is_last_batch:  # type: ignore[attr-defined]
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self.log_dict({"train/loss": loss, "train/accuracy": accuracy, "train/learning_rate": rate})
        return {"loss": loss, "accuracy": accuracy}

    def validation_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, "B K"]:
        """Update the validation metrics with a batch, and return its logits."""
        return self._evaluate(batch, "val", self.val_loss, self.val_accuracy)

    def test_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, "B K"]:
        """Update the test metrics with a batch, and return its logits."""
        return self._evaluate(batch, "test", self.test_loss, self.test_accuracy)

    def predict_step(self, batch: tuple[Float[Tensor, "B C H W"], ...], batch_idx: int) -> Float[Tensor, "B K"]:
        """Return the probability of each class for each image, without labels or with them."""
        return self(batch[0]).softmax(1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build optimizer and schedule."""
        parameters = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        exempt = set() if self.decay_norms_and_biases else parameters.keys() & self._norms_and_biases
        groups: list[dict[str, Any]] = [{"params": [w for name, w in parameters.items() if name not in exempt]}]
        if exempt:
            groups.append({"params": [parameters[name] for name in parameters if name in exempt], "weight_decay": 0.0})
        optimizer = self.optimizer(groups)
        if self._trainer is not None and self._trainer.gradient_clip_val:
            # True for fused optimizers, whose gradients Lightning then refuses to clip in mixed precision.
            optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if isinstance(optimizer, torch.optim.LBFGS):
            self.backbone.to(memory_format=torch.contiguous_format)  # it takes views of the gradients
        if self.scheduler is None:
            return optimizer
        schedule = build_schedule(self.scheduler, optimizer, self.trainer)
        schedule["interval"] = self.scheduler_interval or schedule["interval"]
        return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[return-value]

    def _compile_if_asked(self) -> None:
        if self.compile_forward and self._compiled_call_impl is None:
            # fullgraph=True: otherwise torch silently runs uncompiled code after eight recompilations.
            # torch 2.11 makes a program for each pattern of odd and even sizes in SmallCNN, maybe more than eight.
            torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
            self.compile(dynamic=True, fullgraph=True)

    def _evaluate(self, batch: Batch, split: str, loss: MeanLoss, accuracy: Metric) -> Tensor:
        images, labels = batch
        logits = self(images)
        # Metrics, not means over batches: exact if batches differ in size or are on several ranks.
        loss.update(self.loss, logits, labels)
        accuracy.update(logits, labels)
        self.log(f"{split}/loss", loss, prog_bar=split == "val")
        self.log(f"{split}/accuracy", accuracy, prog_bar=True)
        return logits


@torch.no_grad()
def _set_size(backbone: Backbone, image_size: tuple[int, int]) -> int:
    like = next(backbone.parameters(), torch.empty(0))
    with evaluation_mode(backbone):
        images = torch.zeros(1, backbone.in_channels, *image_size, dtype=like.dtype, device=like.device)
        return backbone(images).shape[2:].numel()
