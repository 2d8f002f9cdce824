"""The command line: LightningCLI with this project's links, loggers and run folders."""

import sys
import time
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, Checkpoint, LearningRateFinder
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from set_aggregation._extras import MissingExtraError
from set_aggregation.aggregators import Aggregator
from set_aggregation.backbones import Backbone
from set_aggregation.callbacks import (
    AccuracyPerSize,
    BestCheckpoint,
    LearningCurves,
    Misclassifications,
    NonFinite,
    PlotCurves,
    ProgressBar,
    Recovery,
    Throughput,
)
from set_aggregation.cli.arguments import add_arguments, check_monitors, checked_words, complete, tags
from set_aggregation.cli.commands import COMMANDS
from set_aggregation.cli.errors import one_line, unwrapped
from set_aggregation.cli.finish import end_run
from set_aggregation.cli.logger_defaults import put_into, wandb_loggers
from set_aggregation.cli.ranks import broadcast_from_rank_zero, disconnect, is_peer_failure
from set_aggregation.cli.silence import lightning_messages, silence_libraries
from set_aggregation.data import ImageDataModule
from set_aggregation.data.image_files import find_images
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.models.description import labels, num_parameters
from set_aggregation.reports.summary import relative
from set_aggregation.runs._lightning import spawns_processes, take_over_signals
from set_aggregation.runs.checkpoint import read_checkpoint
from set_aggregation.runs.checkpoint_io import LAST, DurableCheckpointIO, UnfinishedRunError
from set_aggregation.runs.directory import RunDirectory
from set_aggregation.runs.environment import devices_of, environment
from set_aggregation.runs.resume import changed_optimizer_arguments, find_run
from set_aggregation.runs.signals import EXIT_CODE, Interrupted

_PARTS = {"model.aggregator": Aggregator, "model.backbone": Backbone, "data": ImageDataModule}
_LOGGERS = [
    {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "."}},
    {"class_path": "lightning.pytorch.loggers.WandbLogger"},
]
# Errors that the user can cause and mend; all others keep their traceback.
_USER_ERRORS = (
    *(ArgumentError, ValueError, OSError, FloatingPointError),
    *(MisconfigurationException, MissingExtraError),
)


class SetAggregationCLI(LightningCLI):
    """LightningCLI of one command, with one folder for each run.

    Args:
        command: fit, validate, test or predict.
        arguments: its options.
    """

    model: SetClassifier
    datamodule: ImageDataModule
    run_directory: RunDirectory
    curves: LearningCurves
    recovery: Recovery
    non_finite: NonFinite
    checkpoint: BestCheckpoint

    def __init__(self, command: str, arguments: Sequence[str]) -> None:
        self.command = command
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

    def before_instantiate_classes(self) -> None:
        """Complete the configuration, and put all files of the run into its folder."""
        config = self.config
        complete(config)
        if self.command != "fit":
            config.trainer.logger = False
            if self.command == "predict":  # one process prints all answers in the order of the files
                config.trainer.devices, config.trainer.num_nodes = 1, 1
            return
        run = RunDirectory(config.run.experiment, config.run.root, config.run.name)
        # The configuration as it came is what is written down: the name is for this run only.
        has_name, config.run.name = config.run.name is not None, None
        resume, config.resume = config.resume, None
        self.config_text = self.parser.dump(config, skip_unset=False)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            run = find_run(resume, run, has_name, self.config_text)
        self.run_directory, self._resume, self._is_resumed = run, resume, resume is not None and run.exists
        config.trainer.default_root_dir = str(run.folder)
        config.checkpoint.dirpath = config.checkpoint.dirpath or str(run.checkpoints)
        for logger in _as_list(config.trainer.logger):
            put_into(run, logger, tags(config))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with the callbacks of every run."""
        config = {**self.config_init["trainer"], **kwargs}
        for name in ("curves", "recovery", "non_finite", "checkpoint"):
            setattr(self, name, self.config_init[name])
        self.throughput = Throughput()
        callbacks: list[Callback] = [*_as_list(config["callbacks"]), self.throughput, AccuracyPerSize()]
        if config["enable_progress_bar"] is not False and not any(
            isinstance(c, LightningProgressBar) for c in callbacks
        ):
            callbacks.append(ProgressBar(self.throughput))
        if self.command == "fit":
            run, curves = self.run_directory, self.curves
            # What finds broken weights comes first, what saves them last.
            _check_callbacks(callbacks, self.config.model.scheduler)
            callbacks.insert(0, self.non_finite)
            callbacks += [curves, PlotCurves(run.folder / "curves.png", curves), Misclassifications(), self.recovery]
        if self.command == "fit" and not self._is_rehearsal and config["enable_checkpointing"] is not False:
            callbacks.append(self.checkpoint)
            self.recovery.file = self.run_directory.checkpoints / LAST
        else:
            config["enable_checkpointing"] = False
            if self.command != "fit" or self._is_rehearsal:  # Lightning refuses callbacks that save
                callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        plugins = _as_list(config["plugins"])
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            on_error = self.recovery.on_write_error if self.command == "fit" else "stop"
            config["plugins"] = [*plugins, DurableCheckpointIO(on_error)]
        try:
            return Trainer(**{**config, "callbacks": callbacks})
        except (MisconfigurationException, ValueError) as error:
            if config["accelerator"] in ("auto", "cpu"):
                raise
            raise ValueError(
                f"got --trainer.accelerator {config['accelerator']}, which this machine does not have ({error}); "
                "use --trainer.accelerator auto"
            ) from error

    def fit(self, **kwargs: Any) -> None:
        """Train, test and report; a command that fails before the first step leaves no files."""
        started, exit_code = time.perf_counter(), 1
        try:
            with self.recovery.signals:
                if not self._prepare(kwargs):
                    exit_code = 0
                    return
                take_over_signals(self.trainer)
                # Of the launcher that has started the other ranks, if there is one.
                self.recovery.signals.pass_on = getattr(self.trainer.strategy.launcher, "kill", lambda number: None)
                with lightning_messages():
                    self._say_batch_size()
                    self.trainer.fit(**kwargs)
                self._check_last_checkpoint()
                seconds = self.recovery.seconds + time.perf_counter() - started
                test, test_last = (self.config[name] for name in ("test_after_fit", "test_last"))
                end_run(self.trainer, self.model, self.datamodule, self.run_directory, seconds, test, test_last)
            exit_code = 0
        except Interrupted as stop:
            # A rank that stops because another one failed must not be started again for ever.
            stop.is_agreed |= self.trainer.world_size == 1 or self.recovery.all_ranks_stop()
            exit_code = EXIT_CODE
            self._say_how_to_go_on(stop)
            raise
        finally:
            self.recovery.close()
            for logger in wandb_loggers(self.trainer.loggers):
                logger.finish(exit_code)
            if exit_code and self.throughput.images == 0:
                self.run_directory.discard()
            self.run_directory.unlock()

    def _check_last_checkpoint(self) -> None:
        """Refuse to finish a run whose last checkpoint is missing."""
        file, disk = self.recovery.file, self.trainer.strategy.checkpoint_io
        reason = disk.failed.get(file) if isinstance(disk, DurableCheckpointIO) and file is not None else None
        # Only the first rank writes.
        if (reason := self.trainer.strategy.broadcast(reason)) is not None:
            raise UnfinishedRunError(
                f"the last checkpoint, {file}, cannot be written ({reason}), so the run has not finished; make room "
                f"and repeat the command with --resume {relative(self.run_directory.folder)}"
            )

    def _prepare(self, kwargs: dict[str, Any]) -> bool:
        """Check everything on the first rank before any logger starts a run, and tell all ranks what to resume from."""
        run, has_work, problem = self.run_directory, False, None
        if self.trainer.is_global_zero:
            try:
                has_work = self._check_then_create_folder(kwargs)
            except Exception as error:
                problem = error
        checkpoint = kwargs["ckpt_path"] and str(kwargs["ckpt_path"])
        agreed = broadcast_from_rank_zero([checkpoint, str(run.root), run.experiment, run.name, has_work], self.trainer)
        if problem is not None:
            raise problem
        kwargs["ckpt_path"], root, run.experiment, run.name, has_work = agreed
        if kwargs["ckpt_path"] is not None:
            self.model.init_from = None  # the checkpoint has all weights
        run.root = Path(root)
        self.non_finite.file = None if self._is_rehearsal else run.folder / "non_finite.jsonl"
        if self.recovery.file is not None:
            self.recovery.file = self.non_finite.good_checkpoint = run.checkpoints / LAST
        return has_work

    def _check_then_create_folder(self, kwargs: dict[str, Any]) -> bool:
        run = self.run_directory
        if spawns_processes(self.trainer):
            raise ValueError(
                f"got --trainer.strategy {self.config['trainer'].strategy}, which trains in processes that "
                "keep their results; use --trainer.strategy ddp"
            )
        if self._is_resumed and self._resume == "auto" and run.results.exists():
            print(f"{relative(run.folder)} has finished; there is nothing left to do")
            return False
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        self.model.check_image_sizes(self.datamodule.image_sizes)
        checkpoint: Path | None = kwargs["ckpt_path"] and Path(kwargs["ckpt_path"])
        if self._is_resumed:
            run.lock_or_raise()
            checkpoint = run.newest_checkpoint() or checkpoint
        if checkpoint is not None:
            saved = read_checkpoint(checkpoint, self.model)
            changed_optimizer_arguments(saved.get("hyper_parameters", {}), dict(self.model.hparams))
        kwargs["ckpt_path"] = checkpoint
        if not self._is_rehearsal:
            counts = num_parameters(self.model)
            told_by = {**labels(self.model, self.datamodule), "parameters": counts["aggregator"] + counts["head"]}
            run.create(self.config_text, resume=self._is_resumed)
            self.model.training_description = self._training_description()
            for logger in wandb_loggers(self.trainer.loggers):
                logger.start()
            for each in self.trainer.loggers:
                each.log_hyperparams({**yaml.safe_load(self.config_text), "labels": told_by})
        return True

    def _training_description(self) -> dict[str, Any]:
        """Return what checkpoints store for the model card, without the paths of this machine."""
        given = yaml.safe_load(self.config_text)["data"].get("init_args", {})
        settings = {name: value for name, value in given.items() if name not in ("data_dir", "root", "num_workers")}
        return {
            **{"experiment": self.run_directory.experiment, "run": self.run_directory.name},
            **labels(self.model, self.datamodule),
            "data_settings": settings,
            "environment": environment(devices_of(self.trainer)),
        }

    @rank_zero_only
    def _say_batch_size(self) -> None:
        data, ranks, batches = self.datamodule, self.trainer.world_size, self.trainer.accumulate_grad_batches
        pixels, num = data.max_pixels_per_batch, data.batch_size
        words = f"up to {pixels:,} pixels" if pixels else f"up to {num:,} images"
        words = f"A batch has {words} on {f'each of {ranks} ranks' if ranks > 1 else 'one rank'}"
        if pixels is None and ranks * batches > 1:
            words += f"; an optimizer step takes {batches} x {ranks} of them, {num * ranks * batches:,} images in all"
        print(f"{words}.")

    @rank_zero_only
    def _say_how_to_go_on(self, stop: Interrupted) -> None:
        if self.throughput.images == 0 and not self._is_resumed:
            message = "no step was trained, so no files are left"
        elif self._resume == "auto":
            message = "the same command resumes it"
        else:
            message = f"the same command resumes it with --resume {relative(self.run_directory.folder)}"
        print(f"{stop}: {message}", file=sys.stderr)

    @property
    def _is_rehearsal(self) -> bool:
        """Return whether this is a fast_dev_run, which writes nothing."""
        return bool(self.config["trainer"].fast_dev_run)

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

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and report in one line what is wrong."""
        try:
            self.config = parser.parse_args(checked_words(args))
        except ArgumentError as error:
            raise ArgumentError(None, one_line(str(error), args, parser, _PARTS)) from error


def _export(arguments: Sequence[str]) -> None:
    """Parse the options of ``export``, and run it."""
    from set_aggregation.inference.export import export

    parser = ArgumentParser(description=COMMANDS["export"], exit_on_error=False, allow_abbrev=False)
    parser.prog += " export"
    parser.add_function_arguments(export, as_group=False)
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        raise ArgumentError(None, one_line(str(error), arguments, parser, _PARTS)) from error
    export(**options.as_dict())


def _check_callbacks(callbacks: Sequence[Callback], scheduler: Any) -> None:
    """Refuse callbacks that do not work here, and metrics that no run logs."""
    for callback in callbacks:
        if isinstance(callback, BatchSizeFinder | LearningRateFinder):
            option = "data.batch_size" if isinstance(callback, BatchSizeFinder) else "model.optimizer.lr"
            raise ValueError(
                f"got the callback {type(callback).__name__}, expected another: its search trains outside of the run, "
                f"so that no run resumes it; try values of --{option} with --trainer.max_steps"
            )
    watched = [getattr(callback, "monitor", None) for callback in callbacks]
    watched.append(scheduler and scheduler.init_args.get("monitor"))
    check_monitors(name for name in watched if name)


def _as_list(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def run(command: str, arguments: Sequence[str]) -> int:
    """Run a command; an error that the user can mend is one line, with its traceback after ``--debug`` only."""
    options = [word for word in arguments if word != "--debug"]
    is_debugging = len(options) < len(arguments)
    silence_libraries()
    exit_code, all_are_done = 0, True
    try:
        if command == "export":
            _export(options)
        else:
            cli = SetAggregationCLI(command, options)
            getattr(cli, command)(model=cli.model, datamodule=cli.datamodule, ckpt_path=cli.config_init.ckpt_path)
    except Interrupted as stop:
        all_are_done = stop.is_agreed
        # With another code than 0 Lightning would end the first rank at once, if that has started this one.
        exit_code = 0 if getattr(rank_zero_only, "rank", 0) > 0 else EXIT_CODE if stop.is_agreed else 1
    except RuntimeError as error:
        if is_debugging or not is_peer_failure(error):
            raise
        print("error: another rank has ended; its message is the reason (--debug shows more)", file=sys.stderr)
        return 1
    except _USER_ERRORS as error:
        if is_debugging:
            raise
        line = str(error) if isinstance(error, ArgumentError) else unwrapped(str(error))
        print(f"error: {line} (--debug shows the traceback)", file=sys.stderr)
        return 2 if isinstance(error, ArgumentError) else getattr(error, "exit_code", 1)
    if all_are_done:
        disconnect()
    return exit_code
