"""LightningCLI with this project's options; validate, test and predict."""

from argparse import ArgumentError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from set_aggregation.callbacks import AccuracyPerSize, ProgressBar, Throughput
from set_aggregation.cli.arguments import add_arguments, checked_words, complete
from set_aggregation.cli.commands import COMMANDS
from set_aggregation.cli.errors import one_line
from set_aggregation.data import ImageDataModule
from set_aggregation.data.image_files import find_images
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs.checkpoint import read_checkpoint
from set_aggregation.runs.checkpoint_io import DurableCheckpointIO

_LOGGERS = [
    {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "."}},
    {"class_path": "lightning.pytorch.loggers.WandbLogger"},
]


class SetAggregationCLI(LightningCLI):
    """LightningCLI of one command; this class runs those that read a checkpoint and write no file."""

    model: SetClassifier
    datamodule: ImageDataModule

    def __init__(self, command: str, arguments: Sequence[str]) -> None:
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
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False, "description": COMMANDS[command]},
            args=list(arguments),
            run=False,
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Build the parser of the command."""
        parser = super().init_parser(**kwargs)
        parser.prog += f" {self.command}"
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the data to the model and add the options of every run."""
        add_arguments(parser, self.command)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and report an error in one line."""
        try:
            self.config = parser.parse_args(checked_words(args))
        except ArgumentError as error:
            raise ArgumentError(None, one_line(str(error), args, parser)) from error

    def before_instantiate_classes(self) -> None:
        """Complete the configuration."""
        complete(self.config)
        self.config.trainer.logger = False
        if self.command == "predict":  # one process prints all predictions in the order of the files
            self.config.trainer.devices, self.config.trainer.num_nodes = 1, 1

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
        try:
            return Trainer(**config)
        except (MisconfigurationException, ValueError) as error:
            if config["accelerator"] in ("auto", "cpu"):
                raise
            raise ValueError(
                f"got --trainer.accelerator {config['accelerator']}, which this machine does not have ({error}); "
                "use --trainer.accelerator auto"
            ) from error

    def complete_callbacks(self, callbacks: list[Callback]) -> list[Callback]:
        """Remove the callbacks that save: Lightning refuses them if nothing is written."""
        return [callback for callback in callbacks if not isinstance(callback, Checkpoint)]

    def validate(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the validation set."""
        self._with_checkpoint(self.trainer.validate, kwargs)

    def test(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the test set."""
        self._with_checkpoint(self.trainer.test, kwargs)

    def predict(self, **kwargs: Any) -> None:
        """Print file, class and probability of each image."""
        files = self.datamodule.predict_files = find_images(self.config_init["images"])
        batches = self._with_checkpoint(self.trainer.predict, {**kwargs, "return_predictions": True})
        for file, probabilities in zip(files, torch.cat(batches), strict=True):
            best = int(probabilities.argmax())
            print(f"{file}\t{self.datamodule.class_names[best]}\t{float(probabilities[best]):.4f}")

    def _with_checkpoint(self, run: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
        if kwargs["ckpt_path"] is None:
            raise ValueError(
                f"got no --ckpt_path, expected the checkpoint to {self.command}, "
                "such as --ckpt_path lightning_logs/EXPERIMENT/RUN/checkpoints/best.ckpt"
            )
        read_checkpoint(Path(kwargs["ckpt_path"]), self.model)
        return run(**kwargs)


def as_list(value: Any) -> list[Any]:
    """Return one value, several or none as a list."""
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
