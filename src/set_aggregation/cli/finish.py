"""End of training: test of the best weights, result files and the table."""

import json
from datetime import timedelta
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging

from set_aggregation.callbacks import BestCheckpoint, LearningCurves, Misclassifications, Throughput
from set_aggregation.data import ImageDataModule
from set_aggregation.loggers import SafeWandbLogger
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.models.description import labels, num_parameters
from set_aggregation.reports.summary import next_commands, print_summary, test_rows
from set_aggregation.runs.checkpoint import UnfinishedRunError, read_checkpoint, write_checkpoint
from set_aggregation.runs.directory import RunDirectory
from set_aggregation.runs.environment import devices_of, environment
from set_aggregation.runs.files import atomic_write


def end_run(
    trainer: Trainer,
    model: SetClassifier,
    data: ImageDataModule,
    run: RunDirectory,
    config: Namespace,
    keeper: BestCheckpoint,
    curves: LearningCurves,
    misclassified: Misclassifications,
    throughput: Throughput,
    seconds: float,
) -> None:
    """Test the best weights, write ``results.json`` and ``report.html`` to the run's folder, and print the table."""
    epochs, steps = trainer.current_epoch, trainer.global_step
    metrics = _numbers(trainer)
    rows: dict[str, str] = {}
    saved, best = {}, {}
    best_path = keeper.best_model_path if keeper.monitor else ""
    if trainer.strategy.broadcast(Path(best_path).is_file()):
        # The file counts, not the callback: a better checkpoint may have failed to be written.
        saved = read_checkpoint(Path(best_path))
        epoch, score = saved["epoch"] + 1, float(saved["callbacks"][keeper.state_key]["best_model_score"])
        best = {"epoch": epoch, str(keeper.monitor): score}
        rows[f"{keeper.monitor}, best"] = f"{score:.4f} after epoch {epoch}"
    else:  # the disk was full
        best_path = ""
    last = {key: value for key, value in metrics.items() if key.startswith("val/")}
    if "val/accuracy" in metrics:
        rows["val/accuracy, last"] = f"{metrics['val/accuracy']:.4f}"
    # It averages in training only, but would copy the model before each test, with the loggers.
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, StochasticWeightAveraging)]  # type: ignore[attr-defined]
    if config.test_last:  # the model has these weights already; only the test of the best ones is logged
        loggers, trainer.loggers = trainer.loggers, []
        trainer.test(model, datamodule=data, verbose=False)
        trainer.loggers = loggers
        tested = _numbers(trainer)
        rows |= test_rows(tested, "last")
        last |= tested
    if config.test_after_fit:
        # It would replace the averages in the checkpoint by the raw weights.
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
        trainer.test(model, datamodule=data, ckpt_path=best_path or None, verbose=False)
        tested = _numbers(trainer)
        rows |= test_rows(tested, "best checkpoint" if best_path else "last")
        metrics |= tested
    if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
        return
    counts = num_parameters(model)
    rows |= {
        "parameters, aggregator + head": f"{counts['aggregator'] + counts['head']:,}",
        "parameters, all": f"{counts['all']:,}",
        "time": str(timedelta(seconds=round(seconds))),
        "training speed": f"{throughput.images_per_second:,.0f} images/s",
    }
    if curves.history and throughput.seconds:
        rows["learning curves took"] = f"{100 * curves.seconds / throughput.seconds:.1f} % of the time of training"
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
        "seconds": {"all": seconds, "training": throughput.seconds, "learning curves": curves.seconds},
        "environment": environment(devices_of(trainer)),
        "curves": curves.history,
    }
    from set_aggregation.reports.run_report import MisclassifiedImage, write_report  # matplotlib takes a second

    names, confusion = data.class_names, misclassified.confusion
    worst = [
        MisclassifiedImage(data.image("test", index), names[truth], names[prediction], loss, index)
        for index, loss, truth, prediction in misclassified.worst
    ]
    wandb = [logger for logger in trainer.loggers if isinstance(logger, SafeWandbLogger)]
    for logger in wandb if len(confusion) else ():
        logger.log_evaluation(confusion, names, worst)
    try:
        if config.test_after_fit and saved:  # training data for the model card
            tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
            saved["training"] = {**saved.get("training", {}), "epochs": epochs, "metrics": tested}
            write_checkpoint(saved, Path(best_path))
            keeper.link_best(trainer)  # the file is a new one
        write_report(run.report, results, rows, names, confusion, worst, run.config_file.read_text())
        # Written last: a run with results has finished and is not resumed.
        with atomic_write(run.results) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n")
    except OSError as error:
        raise UnfinishedRunError(
            f"the results of {run.folder} cannot be written ({error.strerror or error}), so the run has not finished; "
            "make room and repeat the command with --resume"
        ) from error
    url = next((logger.url for logger in wandb if logger.url), None)
    print_summary(rows, next_commands(run.folder, url, best_path))


def _numbers(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
