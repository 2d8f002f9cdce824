"""Whatever a person gets wrong: one line that says what, an exit code, and nothing left behind."""

import os

import pytest
import torch

from set_aggregation import aggregators
from tests.support.cli_runner import CSV, DIGITS, ROOT, SHORT, files_in, run_cli

pytestmark = pytest.mark.e2e

FIT = ("fit", *DIGITS)
MULTIRES = ("fit", "--config", str(ROOT / "configs" / "san_digits_multires.yaml"))
CIFAR = ("fit", "--config", str(ROOT / "configs" / "san_cifar.yaml"))
# One by one: between them stand those of other tests, if these run in the same process.
AGGREGATORS = tuple(name for name in aggregators.__all__ if name not in ("Aggregator", "SetReduction"))


def refused(folder, *arguments, **environment):
    """Runs the command line and gives the one line it ends with."""
    before = files_in(folder)
    code, out, err = run_cli(folder, *arguments, **environment)
    assert code != 0
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert files_in(folder) == before
    return err


COMMAND_LINE = {
    "unknown aggregator": (
        (*FIT, "--model.aggregator=SAMN"),
        ("model.aggregator SAMN", *AGGREGATORS, "did you mean SAN?"),
    ),
    "unknown data": (
        (*FIT, "--data=CIFAR11"),
        ("data CIFAR11", "CIFAR10, Digits, FashionMNIST", "did you mean CIFAR10?"),
    ),
    "data set of torchvision": (
        (*FIT, "--data=torchvision.datasets.CIFAR100"),
        ("TorchDataset, ", "--data TorchDataset --data.train torchvision.datasets.CIFAR100"),
    ),
    "prefix of a trainer key": (
        (*FIT, "--trainer.max_epoch=1"),
        ("trainer.max_epoch,", "did you mean trainer.max_epochs?"),
    ),
    "misspelt model key": ((*FIT, "--model.hiden_features=8"), ("did you mean model.hidden_features?",)),
    "key of another aggregator": ((*FIT, "--model.aggregator=Flatten", "--model.aggregator.channels=2"), ("channels",)),
    "unknown monitor of best.ckpt": ((*FIT, "--checkpoint.monitor=val_acc"), ("the monitor val_acc",)),
    "callback that cannot work": ((*FIT, "--trainer.callbacks=BatchSizeFinder"), ("--data.batch_size",)),
    "no number": ((*FIT, "--trainer.max_epochs=many"), ("trainer.max_epochs", "many")),
    "out_features zero": ((*FIT, "--model.aggregator.out_features=0"), ("SAN: got out_features=0", "at least 1")),
    "Flatten of another size": (
        (*FIT, "--model.aggregator=Flatten", "--model.aggregator.set_size=9"),
        ("Flatten: got set_size=9", "sets have set_size=16"),
    ),
    "logger without its package": (
        (*FIT, "--trainer.logger+=MLFlowLogger"),
        ("error: Requirement 'mlflow", "pip install"),
    ),
    "precision without its package": (
        (*FIT, "--trainer.precision=transformer-engine"),
        ("error: Requirement 'transformer_engine", "pip install"),
    ),
    "unknown accelerator": ((*FIT, "--trainer.accelerator=gpuu"), ("accelerator='gpuu'", "auto, ")),
    "no checkpoint given": (("test", *DIGITS), ("--ckpt_path",)),
    "checkpoint not there": (("test", *DIGITS, "--ckpt_path=no.ckpt"), ("checkpoint not found: no.ckpt",)),
    "unknown config file": (("fit", "--config=no.yaml"), ("no.yaml",)),
    "images not asked for": (("predict", "--ckpt_path=no.ckpt"), ("images",)),
}


@pytest.mark.parametrize(("arguments", "fragments"), COMMAND_LINE.values(), ids=COMMAND_LINE)
def test_command_line(here, arguments, fragments):
    line = refused(here, *arguments)
    for fragment in fragments:
        assert fragment in line


NO_SIZES = "expected different sizes, each a side or (height, width) in pixels"
ALL_SIZES = "got images of 8x8, 12x12, 16x16, 20x20, 24x24, expected one size, whose feature map has 16 elements"
SEVERAL_SIZES = {
    "Flatten": (("--model.aggregator=Flatten",), (f"Flatten: {ALL_SIZES}", "SAN, GlobalAvgPool or GlobalMaxPool")),
    "no size": (("--data.sizes=[]",), ("Digits: got sizes=[]", NO_SIZES)),
    "sizes that no machine can hold": (
        ("--data.sizes=[1000000000]",),
        ("Digits: got images that take", "GB of memory", "use fewer"),
    ),
}


@pytest.mark.parametrize(("arguments", "fragments"), SEVERAL_SIZES.values(), ids=SEVERAL_SIZES)
def test_several_sizes(here, arguments, fragments):
    line = refused(here, *MULTIRES, *arguments)
    for fragment in fragments:
        assert fragment in line


@pytest.mark.parametrize("subcommand", ["test"])
@pytest.mark.parametrize("aggregator", ["Flatten"])
def test_checkpoint_of_one_size_at_several(here, tmp_path, subcommand, aggregator):
    from set_aggregation import aggregators
    from set_aggregation.backbones import SmallCNN
    from set_aggregation.models.classifier import SetClassifier

    model = SetClassifier(SmallCNN(1), getattr(aggregators, aggregator), num_classes=10, image_size=(16, 16))
    torch.save({"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.6"}, tmp_path / "one.ckpt")
    arguments = (f"--model.aggregator={aggregator}", "--ckpt_path", tmp_path / "one.ckpt", "--data.sizes=[16, 30]")
    line = refused(here, subcommand, *MULTIRES[1:], *arguments)
    assert f"{aggregator}: got images of 16x16, 30x30, expected one size" in line


YAML = {
    "misspelt aggregator key": (
        "model:\n  aggregator:\n    class_path: SAN\n    init_args:\n      out_featurs: 8\n",
        ("model.aggregator.out_featurs", "did you mean out_features?"),
    ),
    "unknown data class": ("data:\n  class_path: CIFAR11\n", ("CIFAR11", "CIFAR10, Digits, FashionMNIST")),
    "part that is not there": ("model:\n  aggregator: aggregator/sam.yaml\n", ("aggregator/sam.yaml", *AGGREGATORS)),
    "no YAML": ("trainer: [1\n", ("bad.yaml",)),
}


@pytest.mark.parametrize(("text", "fragments"), YAML.values(), ids=YAML)
def test_yaml(here, text, fragments):
    (here / "bad.yaml").write_text(text)
    line = refused(here, *FIT, "--config=bad.yaml")
    for fragment in fragments:
        assert fragment in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_accelerator_that_is_not_there(here):
    line = refused(here, *FIT, "--trainer.accelerator=gpu")
    assert "gpu" in line.lower()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("content", [b"\x80\x02c"])
def test_checkpoint_of_something_else(here, content):
    (here / "some.ckpt").write_bytes(content)
    line = refused(here, "validate", *DIGITS, "--ckpt_path=some.ckpt")
    assert "the checkpoint some.ckpt, which is damaged or no checkpoint of this project" in line


def test_checkpoint_that_is_a_program(here):
    torch.save({"state_dict": Bomb()}, here / "bomb.ckpt")
    assert "bomb.ckpt, which is damaged or no checkpoint" in refused(here, "test", *DIGITS, "--ckpt_path=bomb.ckpt")


@pytest.mark.parametrize("subcommand", ["fit"])
def test_checkpoint_of_another_model(here, run_folder, subcommand):
    line = refused(here, subcommand, *DIGITS, "--ckpt_path", run_folder / "checkpoints" / "best.ckpt")
    assert "is (10, 8), expected (10, 1024)" in line
    assert "config.yaml" in line


@pytest.mark.parametrize("way", ["lightning_logs"])
def test_file_where_the_log_folder_should_be(here, way):
    (here / way).parent.mkdir(exist_ok=True)
    (here / way).touch()
    line = refused(here, *FIT)
    assert "run folder lightning_logs/san_digits/" in line
    assert "--run.root" in line


def test_run_folder_that_is_there(here):
    (here / "lightning_logs" / "san_digits" / "a" / "b").mkdir(parents=True)
    line = refused(here, *FIT, "--run.name=a")
    assert "lightning_logs/san_digits/a, which exists" in line
    assert "--run.name" in line


@pytest.mark.parametrize("content", [b"no image"])
def test_image_that_cannot_be_read(here, run_folder, content):
    if content is not None:
        (here / "image.png").write_bytes(content)
    checkpoint = run_folder / "checkpoints" / "best.ckpt"
    line = refused(here, "predict", "--ckpt_path", checkpoint, "--images", "image.png")
    assert "got image.png, which is not" in line


def test_folder_without_images(here, run_folder):
    checkpoint = run_folder / "checkpoints" / "best.ckpt"
    line = refused(here, "predict", "--ckpt_path", checkpoint, "--images=.")
    assert "no image file in ." in line


def test_loss_that_is_no_number(here):
    """Training had begun: what it wrote stays."""
    outcome = run_cli(here, *FIT, *CSV, *SHORT, "--model.optimizer.lr=1e30", "--run.name=a")
    assert outcome.code != 0
    assert "Traceback" not in outcome.err
    assert outcome.err.count("\n") == 1
    assert "error: got a loss or gradient that is not finite at step 2" in outcome.err
    run = here / "lightning_logs" / "san_digits" / "a"
    assert "lr: 1.0e+30" in (run / "config.yaml").read_text()
    assert "nan" in (run / "metrics.csv").read_text()
    assert not list(run.rglob("*.ckpt"))


def test_debug_option_gives_the_traceback(here):
    with pytest.raises(ValueError, match="batch_size=0"):
        run_cli(here, *FIT, "--data.batch_size=0", "--debug")


def test_mistake_of_ours_keeps_its_traceback(here, monkeypatch):
    monkeypatch.setattr("set_aggregation.data.Digits.load", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_cli(here, *FIT)
    assert files_in(here) == set()


def test_interrupted_before_training(here, monkeypatch):
    """Ctrl-C while the data is read leaves nothing either."""

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("set_aggregation.data.Digits.load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_cli(here, *FIT)
    assert files_in(here) == set()
