"""The private name of Lightning that tells LightningCLI from Python."""

from lightning.pytorch.cli import LightningCLI

from set_aggregation.models import SetClassifier
from set_aggregation.models._lightning import is_built_by_cli


def test_the_command_line_is_known_and_gives_plain_hyperparameters(monkeypatch):
    model = ["--model.backbone=SmallCNN", "--model.aggregator=GlobalAvgPool", "--model.num_classes=3"]
    loss = ["--model.loss=CrossEntropyLoss", "--model.loss.weight=[1, 2, 3]"]
    monkeypatch.setattr("sys.argv", ["main.py", *model, *loss])
    cli = LightningCLI(SetClassifier, run=False, save_config_callback=None, seed_everything_default=False)
    assert not is_built_by_cli()
    assert cli.model.hparams["backbone"]["class_path"].endswith("SmallCNN")
    assert cli.model.loss.weight.tolist() == [1, 2, 3]
