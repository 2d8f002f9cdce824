"""LightningCLI with this project's options; validate and test."""

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from set_aggregation.callbacks import AccuracyPerSize, ProgressBar, Throughput
from set_aggregation.cli.arguments import add_arguments, checked_words, complete, with_config
from set_aggregation.cli.errors import one_line
from set_aggregation.data import ImageDataModule
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs.checkpoint import DurableCheckpointIO, read_checkpoint

_LOGGERS = [
    {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "."}},
    {"class_path": "lightning.pytorch.loggers.WandbLogger"},
]


class SetAggregationCLI(LightningCLI):
    """LightningCLI of one command; this class runs those that read a checkpoint and write no file."""

    model: SetClassifier
    datamodule: ImageDataModule

    def __init__(self, command: str, description: str = "", arguments: Sequence[str] = ()) -> None:
        self.command = command
        self.throughput = Throughput()
        self.disk = DurableCheckpointIO()
        super().__init__(
            SetClassifier,
            ImageDataModule,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={"logger": _LOGGERS, "use_distributed_sampler": False},
            parser_kwargs={
                "prog": f"{Path(sys.argv[0]).name} {command}",
                **{"exit_on_error": False, "allow_abbrev": False, "description": description},
            },
            args=list(arguments),
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the data to the model and add the options of every run."""
        add_arguments(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and report an error in one line."""
        words = checked_words(args)
        if self.command != "fit":
            words = with_config(words)
        try:
            self.config = parser.parse_args(words)
        except ArgumentError as error:
            raise ArgumentError(None, one_line(str(error), args, parser)) from error

    def before_instantiate_classes(self) -> None:
        """Complete the configuration."""
        complete(self.config)
        self.config.trainer.logger = False

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with the callbacks of the command."""
        config = {**self.config_init["trainer"], **kwargs}
        callbacks: list[Callback] = [*as_list(config["callbacks"]), self.throughput, AccuracyPerSize()]
        if config["enable_progress_bar"] is not False and not any(
            isinstance(each, LightningProgressBar) for each in callbacks
        ):
            callbacks.append(ProgressBar(self.throughput))
        plugins = as_list(config["plugins"])
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(self.disk)
        config |= {"plugins": plugins, "callbacks": self.complete_callbacks(callbacks)}
        if not any(isinstance(each, Checkpoint) for each in config["callbacks"]):
            config["enable_checkpointing"] = False
        return Trainer(**config)

    def complete_callbacks(self, callbacks: list[Callback]) -> list[Callback]:
        """Remove the callbacks that save or average: without training Lightning refuses them or warns."""
        return [callback for callback in callbacks if not isinstance(callback, Checkpoint | WeightAveraging)]

    def run(self) -> None:
        """Measure a checkpoint on the validation or test set."""
        path = self.config_init["ckpt_path"]
        if path is None:
            raise ValueError(
                f"got no --ckpt_path, expected the checkpoint to {self.command}, "
                "such as --ckpt_path lightning_logs/EXPERIMENT/RUN/checkpoints/best.ckpt"
            )
        checkpoint = read_checkpoint(path, self.model)
        if (white := checkpoint.get("images", {}).get("white")) is not None:
            self.datamodule.white = white  # images are scaled as in training
        getattr(self.trainer, self.command)(self.model, self.datamodule, ckpt_path=path)


def as_list(value: Any) -> list[Any]:
    """Return one value, several or none as a list."""
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
