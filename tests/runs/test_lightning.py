"""The private names of Lightning exist in the installed version."""

import inspect

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningCLI

from set_aggregation.models import SetClassifier
from set_aggregation.runs import _lightning
from set_aggregation.runs._lightning import is_built_by_cli, spawns_processes
from tests.support.quiet_trainer import quiet_trainer


def test_private_names_exist(tmp_path):
    trainer = quiet_trainer(tmp_path)
    loop = trainer.fit_loop.epoch_loop
    assert callable(trainer._signal_connector.register_signal_handlers)
    assert callable(loop._broadcast_sigterm_tensor)
    assert callable(loop._should_accumulate)
    assert callable(loop.val_loop.increment_progress_to_evaluation_end)
    assert isinstance(loop._batches_that_stepped, int)
    assert isinstance(trainer.fit_loop._restarting, bool)
    assert list(inspect.signature(RichProgressBar._get_train_description).parameters) == ["self", "current_epoch"]
    assert {"ready", "started", "processed", "completed"} <= set(loop.batch_progress.current.state_dict())


@pytest.mark.parametrize(("strategy", "spawns"), [("auto", False), ("ddp", False), ("ddp_spawn", True)])
def test_spawned_processes(strategy, spawns):
    trainer = Trainer(accelerator="cpu", devices=2 if strategy != "auto" else 1, strategy=strategy, logger=False)
    assert spawns_processes(trainer) is spawns


def test_epochs_are_counted_from_one(tmp_path):
    trainer = quiet_trainer(tmp_path, max_epochs=5)
    bar = _lightning.ProgressBarFromOne()
    bar.setup(trainer, None, "fit")
    assert bar._get_train_description(4).strip() == "Epoch 5/5"


def test_the_command_line_is_known_and_gives_plain_hyperparameters(monkeypatch):
    model = ["--model.backbone=SmallCNN", "--model.aggregator=GlobalAvgPool", "--model.num_classes=3"]
    loss = ["--model.loss=CrossEntropyLoss", "--model.loss.weight=[1, 2, 3]"]
    monkeypatch.setattr("sys.argv", ["main.py", *model, *loss])
    cli = LightningCLI(SetClassifier, run=False, save_config_callback=None, seed_everything_default=False)
    assert not is_built_by_cli()
    assert cli.model.hparams["backbone"]["class_path"].endswith("SmallCNN")
    assert cli.model.loss.weight.tolist() == [1, 2, 3]
