"""End of training: test of the best weights, result files and the table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from set_aggregation.callbacks import (
    BestCheckpoint,
    LearningCurves,
    Misclassification,
    Misclassifications,
    PlotCurves,
    Throughput,
)
from set_aggregation.cli.logger_defaults import wandb_loggers
from set_aggregation.data import ImageDataModule
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.models.description import labels, num_parameters
from set_aggregation.reports.misclassification import MisclassifiedImage
from set_aggregation.reports.summary import next_commands, print_summary, test_rows
from set_aggregation.runs.checkpoint import read_checkpoint, write_checkpoint
from set_aggregation.runs.checkpoint_io import UnfinishedRunError
from set_aggregation.runs.directory import RunDirectory
from set_aggregation.runs.environment import devices_of, environment
from set_aggregation.runs.results import best_epoch, write_results

C = TypeVar("C", bound=Callback)


def end_run(
    trainer: Trainer,
    model: SetClassifier,
    data: ImageDataModule,
    run: RunDirectory,
    seconds: float,
    test: bool,
    test_last: bool = False,
) -> None:
    """Test the best weights, write ``results.json`` and ``report.html`` to the run's folder, and print the table."""
    epochs, steps = trainer.current_epoch, trainer.global_step
    rows, metrics = {}, {key: float(value) for key, value in trainer.callback_metrics.items()}
    keeper = next((c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint) and c.monitor), None)
    best, best_path = {}, keeper.best_model_path if keeper else ""
    if not trainer.strategy.broadcast("://" in best_path or Path(best_path).is_file()):
        best_path = ""  # the disk was full
    if keeper is not None and best_path and keeper.best_model_score is not None:
        epoch, score = best_epoch(Path(best_path), keeper.state_key)
        best = {"epoch": epoch, str(keeper.monitor): score}
        rows[f"{keeper.monitor}, best"] = f"{score:.4f} after epoch {epoch}"
    last = {key: value for key, value in metrics.items() if key.startswith("val/")}
    if "val/accuracy" in metrics:
        rows["val/accuracy, last"] = f"{metrics['val/accuracy']:.4f}"
    if test_last:  # the model still has these weights
        tested = _test_without_logging(trainer, model, data)
        rows |= test_rows(tested, "last")
        last |= {key: float(value) for key, value in tested.items()}
    if test:
        # It would replace the averages in the checkpoint by the raw weights.
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
        trainer.test(model, datamodule=data, ckpt_path=best_path or None, verbose=False)
        tested = trainer.callback_metrics
        rows |= test_rows(tested, "best checkpoint" if best_path else "last")
        metrics |= {key: float(value) for key, value in tested.items()}
    if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
        return
    throughput, curves = _find(trainer, Throughput), _find(trainer, LearningCurves)
    curves_seconds = curves.seconds + _find(trainer, PlotCurves).seconds
    counts = num_parameters(model)
    rows |= {
        "parameters, aggregator + head": f"{counts['aggregator'] + counts['head']:,}",
        "parameters, all": f"{counts['all']:,}",
        "time": duration(seconds),
        "training speed": f"{throughput.images_per_second:,.0f} images/s",
    }
    if curves.history and throughput.seconds:
        rows["learning curves took"] = f"{100 * curves_seconds / throughput.seconds:.1f} % of the time of training"
    results = {
        "experiment": run.experiment,
        "run": run.name,
        **labels(model, data),
        "epochs": epochs,
        "steps": steps,
        "best": best,
        "last": last,
        "metrics": metrics,
        "parameters": counts,
        "seconds": {"all": seconds, "training": throughput.seconds, "learning curves": curves_seconds},
        "environment": environment(devices_of(trainer)),
        "curves": curves.history,
    }
    misclassified = _find(trainer, Misclassifications)
    confusion, shown_images = misclassified.confusion, _images_of(data, misclassified.worst)
    if len(confusion):
        shown = [(each.pixels, each.truth, each.prediction, each.loss) for each in shown_images]
        for logger in wandb_loggers(trainer.loggers):
            logger.log_evaluation(confusion, data.class_names, shown)
    from set_aggregation.reports.run_report import write_report  # matplotlib takes a second

    try:
        if test and Path(best_path).is_file():
            _complete_checkpoint(Path(best_path), epochs, metrics)
        write_report(run.report, results, rows, data.class_names, confusion, shown_images, run.config_file.read_text())
        # Written last: a run with results has finished and is not resumed.
        write_results(run.results, results)
    except OSError as error:
        raise UnfinishedRunError(
            f"the results of {run.folder} cannot be written ({error.strerror or error}), so the run has not finished; "
            "make room and repeat the command with --resume"
        ) from error
    url = next((logger.url for logger in wandb_loggers(trainer.loggers) if logger.url), None)
    print_summary(rows, next_commands(run.folder, url, best_path))


def _complete_checkpoint(file: Path, epochs: int, metrics: Mapping[str, float]) -> None:
    """Add the number of epochs and the test metrics to the training description in a checkpoint."""
    checkpoint = read_checkpoint(file)
    tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
    checkpoint["training"] = {**checkpoint.get("training", {}), "epochs": epochs, "metrics": tested}
    write_checkpoint(checkpoint, file)


def _test_without_logging(trainer: Trainer, model: SetClassifier, data: ImageDataModule) -> Mapping[str, Tensor]:
    """Test the current weights; log only the test of the weights that the run ends with."""
    loggers, trainer.loggers = trainer.loggers, []
    try:
        trainer.test(model, datamodule=data, verbose=False)
        return dict(trainer.callback_metrics)
    finally:
        trainer.loggers = loggers


def _images_of(data: ImageDataModule, misclassified: Sequence[Misclassification]) -> list[MisclassifiedImage]:
    names = data.class_names
    return [
        MisclassifiedImage(data.image("test", m.index), names[m.truth], names[m.prediction], m.loss, m.index)
        for m in misclassified
    ]


def _find(trainer: Trainer, kind: type[C]) -> C:
    return next(callback for callback in trainer.callbacks if isinstance(callback, kind))  # type: ignore[attr-defined]


def duration(seconds: float) -> str:
    """Return a time as text in seconds, minutes or hours.

    Example:
        >>> duration(3.14159), duration(75), duration(7384)
        ('3.1 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
