"""The command ``fit``: train in a run folder, then test and report."""

import logging
import sys
import time
from enum import Enum
from pathlib import Path

import yaml
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback

from set_aggregation.callbacks import BestCheckpoint, LearningCurves, Misclassifications, NonFinite, Recovery
from set_aggregation.cli.arguments import check_callbacks, complete, put_into, tags
from set_aggregation.cli.finish import end_run
from set_aggregation.cli.lightning_cli import SetAggregationCLI, as_list
from set_aggregation.cli.ranks import broadcast_from_rank_zero
from set_aggregation.cli.silence import set_lightning_level
from set_aggregation.loggers import SafeWandbLogger
from set_aggregation.models.description import labels, num_parameters
from set_aggregation.reports.summary import relative
from set_aggregation.runs._lightning import spawns_processes, take_over_signals
from set_aggregation.runs.checkpoint import LAST, UnfinishedRunError, read_checkpoint
from set_aggregation.runs.directory import RunDirectory, find_run
from set_aggregation.runs.environment import devices_of, environment, multiplies_bfloat16
from set_aggregation.runs.settings import changed_optimizer_arguments
from set_aggregation.runs.signals import EXIT_CODE, Interrupted

# The default of an argument may be an enum (Lightning's Timer), which YAML does not have.
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


class Fit(SetAggregationCLI):
    """The command ``fit``, with one folder for each run."""

    def before_instantiate_classes(self) -> None:
        """Complete the configuration, and put all files of the run into its folder."""
        config = self.config
        complete(config)
        run = RunDirectory(config.run.experiment, config.run.root, config.run.name)
        # The original configuration is saved, without the name, which is for this run only.
        has_name, config.run.name = config.run.name is not None, None
        resume, config.resume = config.resume, None
        self.config_text = self.parser.dump(config, skip_unset=False)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            run = find_run(resume, run, has_name, self.config_text)
        self.run_directory, self._resume, self._is_resumed = run, resume, resume is not None and run.exists
        self._is_dry_run = bool(config.trainer.fast_dev_run)  # which writes nothing
        config.trainer.enable_model_summary = False  # one line about the parameters replaces Lightning's table
        config.trainer.default_root_dir = str(run.folder)
        config.checkpoint.dirpath = config.checkpoint.dirpath or str(run.checkpoints)
        for logger in as_list(config.trainer.logger):
            put_into(run, logger, tags(config))

    def complete_callbacks(self, callbacks: list[Callback]) -> list[Callback]:
        """Add the callbacks of training."""
        config = self.config_init
        check_callbacks([*callbacks, config["checkpoint"]], self.config.model.scheduler)
        self.curves: LearningCurves = config["curves"]
        self.recovery: Recovery = config["recovery"]
        self.non_finite: NonFinite = config["non_finite"]
        self.checkpoint: BestCheckpoint = config["checkpoint"]
        self.misclassified = Misclassifications()
        self.disk.on_error = self.recovery.on_write_error
        # Callbacks that detect broken weights precede those that save weights.
        callbacks = [self.non_finite, *callbacks, self.curves, self.misclassified, self.recovery]
        self._writes_checkpoints = not self._is_dry_run and self.config.trainer.enable_checkpointing is not False
        return [*callbacks, self.checkpoint] if self._writes_checkpoints else super().complete_callbacks(callbacks)

    def run(self) -> None:
        """Train, test and report; a command that fails before the first step leaves no files."""
        started, exit_code = time.perf_counter(), 1
        try:
            with self.recovery.signals:
                if self._prepare():
                    take_over_signals(self.trainer)
                    # `kill` of the launcher, if it started the other ranks.
                    self.recovery.signals.pass_on = getattr(self.trainer.strategy.launcher, "kill", None)
                    self._describe()
                    set_lightning_level(logging.INFO)
                    self.trainer.fit(self.model, self.datamodule, ckpt_path=self._ckpt_path)
                    set_lightning_level(logging.WARNING)
                    self._check_last_checkpoint()
                    seconds = self.recovery.seconds + time.perf_counter() - started
                    measured = self.checkpoint, self.curves, self.misclassified, self.throughput
                    end_run(
                        self.trainer, self.model, self.datamodule, self.run_directory, self.config, *measured, seconds
                    )
            exit_code = 0
        except Interrupted as stop:
            # A rank that stops because another one failed must not be restarted forever.
            stop.is_agreed |= self.trainer.world_size == 1 or self.recovery.all_ranks_stop()
            exit_code = EXIT_CODE
            self._print_resume_command(stop)
            raise
        finally:
            self.recovery.close()
            for logger in self.trainer.loggers:
                if isinstance(logger, SafeWandbLogger):
                    logger.finish(exit_code)
            if exit_code and self.throughput.images == 0:
                self.run_directory.discard()
            self.run_directory.unlock()

    def _check_last_checkpoint(self) -> None:
        """Refuse to finish a run whose last checkpoint is missing."""
        reason = self.disk.failed.get(self.recovery.file) if self.recovery.file else None
        # Only the first rank writes.
        if (reason := self.trainer.strategy.broadcast(reason)) is not None:
            raise UnfinishedRunError(
                f"the last checkpoint, {self.recovery.file}, cannot be written ({reason}), so the run has not "
                f"finished; make room and repeat the command with --resume {relative(self.run_directory.folder)}"
            )

    def _prepare(self) -> bool:
        """Check everything and create the folder on the first rank; return whether anything is left to train."""
        has_work, problem = False, None
        self._ckpt_path: Path | None = self.config_init["ckpt_path"]
        if self.trainer.is_global_zero:
            try:
                has_work = self._check_then_create_folder()
            except Exception as error:
                problem = error
        message = [self._ckpt_path and str(self._ckpt_path), str(self.run_directory.folder), has_work]
        ckpt_path, folder, has_work = broadcast_from_rank_zero(message, self.trainer)
        if problem is not None:
            raise problem
        if not self.trainer.is_global_zero:
            self.run_directory = RunDirectory.at(Path(folder))
        run = self.run_directory
        if ckpt_path is not None:
            self._ckpt_path, self.model.init_from = Path(ckpt_path), None  # the checkpoint has all weights
        if not self._is_dry_run:
            self.non_finite.folder, self.curves.file = run.folder, run.folder / "curves.png"
        if self._writes_checkpoints:
            self.recovery.file = run.checkpoints / LAST
        return bool(has_work)

    def _check_then_create_folder(self) -> bool:
        run = self.run_directory
        if spawns_processes(self.trainer):
            raise ValueError(
                f"got --trainer.strategy {self.config.trainer.strategy}, whose processes do not return "
                "their results; use --trainer.strategy ddp"
            )
        if self._is_resumed and self._resume == "auto" and run.results.exists():
            print(f"{relative(run.folder)} has finished; there is nothing left to do")
            return False
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        self.model.check_image_sizes(self.datamodule.image_sizes)
        if self._is_resumed:
            run.lock_or_raise()
            self._ckpt_path = run.newest_checkpoint() or self._ckpt_path
        if self._ckpt_path is not None:
            saved = read_checkpoint(self._ckpt_path, self.model)
            changed_optimizer_arguments(saved.get("hyper_parameters", {}), dict(self.model.hparams))
        if not self._is_dry_run:
            run.create(self.config_text, resume=self._is_resumed)
            config, counts = yaml.safe_load(self.config_text), num_parameters(self.model)
            data, run_labels = config["data"], labels(self.model, self.datamodule)
            paths = ("data_dir", "root", "num_workers")  # of this machine
            self.model.training_description = {
                **{"experiment": run.experiment, "run": run.name, "data_class": data["class_path"]},
                "data_settings": {name: value for name, value in data["init_args"].items() if name not in paths},
                **run_labels,
                "environment": environment(devices_of(self.trainer)),
            }
            run_labels["parameters"] = counts["aggregator"] + counts["head"]
            for logger in self.trainer.loggers:
                logger.log_hyperparams({**config, "labels": run_labels})
        return True

    @rank_zero_only
    def _describe(self) -> None:
        """Print the parts of the model and the size of a batch."""
        counts = num_parameters(self.model)
        num_all, trained = counts.pop("all"), (w.numel() for w in self.model.parameters() if w.requires_grad)
        parts = (f"{type(getattr(self.model, part)).__name__} {num:,}" for part, num in counts.items())
        print(f"Parameters: {', '.join(parts)}; {sum(trained):,} of {num_all:,} are trained.")
        data, ranks, batches = self.datamodule, self.trainer.world_size, self.trainer.accumulate_grad_batches
        pixels, num = data.max_pixels_per_batch, data.batch_size
        words = f"up to {pixels:,} pixels" if pixels else f"up to {num:,} images"
        print(f"A batch of each rank has {words}; an optimizer step takes {ranks * batches} of them.")
        precision = str(self.trainer.precision)
        is_on_cpu = self.trainer.strategy.root_device.type == "cpu"
        if is_on_cpu and precision.startswith("bf16") and not multiplies_bfloat16():
            print(f"This processor has no bfloat16 arithmetic: --trainer.precision {precision} is slower than 32-true.")

    @rank_zero_only
    def _print_resume_command(self, stop: Interrupted) -> None:
        if self.throughput.images == 0 and not self._is_resumed:
            message = "no step was trained, so no files are left"
        elif self._resume == "auto":
            message = "the same command resumes it"
        else:
            message = f"the same command resumes it with --resume {relative(self.run_directory.folder)}"
        print(f"{stop}: {message}", file=sys.stderr)
