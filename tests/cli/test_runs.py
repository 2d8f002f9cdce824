"""What a run leaves, and what can be done with it."""

import csv
import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml
from PIL import Image
from torch._dynamo.testing import CompileCounter

from set_aggregation.data import Digits
from set_aggregation.models.classifier import SetClassifier
from set_aggregation.runs.environment import multiplies_bfloat16
from tests.support.cli_runner import CSV, DIGITS, ROOT, SHORT, files_in, run_cli

pytestmark = pytest.mark.e2e

MULTIRES = ("--config", str(ROOT / "configs" / "san_digits_multires.yaml"))
COLUMNS = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy"}
COLUMNS |= {f"curve/{part}_{name}" for part in ("train", "val", "test") for name in ("accuracy", "loss")} | {
    "curve/gap"
}


def read_metrics(folder):
    """Rows of metrics.csv, without their empty cells."""
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def last(folder, metric):
    return [row[metric] for row in read_metrics(folder) if metric in row][-1]


def only_run(folder, experiment="san_digits"):
    (run,) = (folder / "lightning_logs" / experiment).iterdir()
    return run


def shown(out, metric):
    """A metric out of the table that test and validate print."""
    return float(re.search(rf"{metric}\W+([\d.]+)", out)[1])


class TestFolder:
    def test_everything_lies_in_it(self, trained, run_folder):
        inside = run_folder.relative_to(trained[0])
        outside = {path for path in files_in(trained[0]) if not Path(path).is_relative_to(inside)}
        assert outside == {"lightning_logs", "lightning_logs/san_digits"}

    def test_content(self, run_folder):
        written = {"config.yaml", "metrics.csv", "curves.png", "results.json", "report.html"}
        of_loggers = {"wandb", "wandb_run_id", "hparams.yaml", ".lock"}
        assert {path.name for path in run_folder.iterdir()} == {*written, "checkpoints", *of_loggers}

    @pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
    def test_checkpoints_are_files_without_code(self, run_folder, name):
        file = run_folder / "checkpoints" / name
        assert file.is_file()
        assert not file.is_symlink()
        assert torch.load(file, weights_only=True)["state_dict"]

    def test_best_is_the_first_epoch_of_the_best_accuracy(self, run_folder):
        accuracies = [row["val/accuracy"] for row in read_metrics(run_folder) if "val/accuracy" in row]
        best = torch.load(run_folder / "checkpoints" / "best.ckpt", weights_only=True)
        assert best["epoch"] == accuracies.index(max(accuracies))


class TestConfig:
    def test_is_complete(self, run_folder):
        config = yaml.safe_load((run_folder / "config.yaml").read_text())
        assert config["model"]["aggregator"]["init_args"]["out_features"] == 8
        assert config["data"]["init_args"].items() >= {"batch_size": 32, "val_size": 180, "num_train": None}.items()
        assert config["model"]["optimizer"]["init_args"]["lr"] == 0.001
        assert config["seed_everything"] == 0

    def test_run_from_it_gives_the_same(self, run_folder, here):
        assert run_cli(here, "fit", "--config", run_folder / "config.yaml").code == 0
        again = only_run(here)
        assert again.name != run_folder.name
        for file in ("metrics.csv", "config.yaml"):
            assert (again / file).read_bytes() == (run_folder / file).read_bytes()


class TestCheckpoint:
    @pytest.mark.parametrize(("subcommand", "split", "alone"), [("test", "test", True), ("validate", "val", False)])
    def test_gives_the_numbers_of_the_fit(self, run_folder, here, subcommand, split, alone):
        shutil.copy(run_folder / "checkpoints" / "best.ckpt", here / "moved.ckpt")
        config = () if alone else ("--config", run_folder / "config.yaml")
        code, out, err = run_cli(here, subcommand, *config, "--ckpt_path", "moved.ckpt")
        assert (code, err) == (0, "")
        rows = [row for row in read_metrics(run_folder) if f"{split}/loss" in row]
        expected = max(rows, key=lambda row: row[f"{split}/accuracy"])  # the first of the best, as the checkpoint
        assert shown(out, f"{split}/loss") == pytest.approx(expected[f"{split}/loss"], rel=1e-5)
        assert shown(out, f"{split}/accuracy") == pytest.approx(expected[f"{split}/accuracy"], rel=1e-5)
        assert files_in(here) == {"moved.ckpt"}

    def test_best_of_several_is_linked_with_its_test(self, here):
        options = ("--checkpoint.save_top_k=2", "--curves.every_n_epochs=0")
        assert run_cli(here, "fit", *DIGITS, *SHORT, *CSV, *options).code == 0
        best = only_run(here) / "checkpoints" / "best.ckpt"
        assert any(best.samefile(path) for path in best.parent.glob("epoch=*.ckpt"))
        assert "test/accuracy" in torch.load(best, weights_only=True)["training"]["metrics"]


class TestPredict:
    @pytest.fixture
    def images(self, here):
        """Four digits of the test set as image files, one of them on its own."""
        digits = Digits()
        digits.setup("test")
        pixels, _ = digits.parts["test"][[0, 1, 2, 3]]
        (here / "some" / "more").mkdir(parents=True)
        names = ["one.png", "some/a.png", "some/b.PNG", "some/more/c.png"]
        for name, image in zip(names, pixels, strict=True):
            Image.fromarray(image[0].numpy()).save(here / name)
        (here / "some" / "notes.txt").write_text("no image")
        return names, pixels

    def test_prints_file_class_probability_from_a_checkpoint_alone(self, here, run_folder, images):
        names, pixels = images
        best = shutil.copy(run_folder / "checkpoints" / "best.ckpt", here / "moved.ckpt")
        words = ("predict", "--ckpt_path", "moved.ckpt", "--images", "one.png", "some")
        code, out, err = run_cli(here, *words)
        model = SetClassifier.load_from_checkpoint(best, weights_only=True).eval()
        with torch.no_grad():
            probabilities, classes = model(pixels.float() / 255).softmax(1).max(1)
        expected = [
            f"{name}\t{digit}\t{probability:.4f}"
            for name, digit, probability in zip(names, classes, probabilities, strict=True)
        ]
        assert (code, err) == (0, "")
        assert out.splitlines() == expected
        assert run_cli(here, *words, "--config", run_folder / "config.yaml") == (0, out, "")


class TestSwitches:
    def test_rehearsal_leaves_nothing(self, here):
        assert run_cli(here, "fit", *DIGITS, "--trainer.fast_dev_run=2").code == 0
        assert files_in(here) == set()

    def test_no_loggers_and_no_checkpoints(self, here):
        switches = ("--trainer.logger=false", "--trainer.enable_checkpointing=false")
        code, out, _ = run_cli(here, "fit", *DIGITS, *SHORT, *switches)
        assert code == 0
        assert "test/accuracy, last" in out
        files = {path.name for path in only_run(here).iterdir()}
        assert files == {".lock", "config.yaml", "curves.png", "results.json", "report.html"}


PARTS = {
    "aggregator with its argument": ("--model.aggregator=Conv1x1 --model.aggregator.channels=3", "Conv1x1"),
    "backbone by file": ("--model.backbone={configs}/backbone/small_cnn.yaml", "SmallCNN"),
    "data by name": ("--data=Digits --data.batch_size=16", "SAN"),
}


@pytest.mark.parametrize(("arguments", "part"), PARTS.values(), ids=PARTS)
def test_part_swapped(here, arguments, part, monkeypatch):
    parts = set()
    monkeypatch.setattr(
        SetClassifier, "on_train_start", lambda self: parts.update(type(each).__name__ for each in self.modules())
    )
    code, _, err = run_cli(
        here, "fit", *DIGITS, *arguments.format(configs=ROOT / "configs").split(), "--trainer.fast_dev_run=1"
    )
    assert code == 0, err
    assert part in parts


SIDES = (8, 12, 16, 20, 24)
BY_SIZE = [f"accuracy/{side}x{side}" for side in SIDES]
LEARNING = ("--model.optimizer.lr=0.01", "--model.aggregator.reduction=mean")  # enough to tell sizes and epochs apart


@pytest.fixture(scope="module")
def multires(tmp_path_factory):
    """Folder and outcome of ``fit`` on digits of several sizes."""
    folder = tmp_path_factory.mktemp("multires")
    arguments = (*SHORT, *LEARNING, *CSV, "--data.resample=true", "--test_last=true")
    outcome = run_cli(folder, "fit", *MULTIRES, *arguments)
    return only_run(folder, "san_digits_multires"), outcome


def printed(out):
    """The accuracies that test and validate print, all and by size."""
    return {name: float(value) for name, value in re.findall(r"│ +(\w+/accuracy\S*) +│ +([\d.]+) +│", out)}


class TestSeveralSizes:
    @pytest.mark.parametrize("part", ["val", "test"])
    def test_the_accuracy_is_their_mean(self, multires, part):
        mean = sum(last(multires[0], f"{part}/{name}") for name in BY_SIZE) / len(BY_SIZE)
        assert last(multires[0], f"{part}/accuracy") == pytest.approx(mean)

    def test_table_has_a_row_for_each_by_size(self, multires):
        """8x8 comes before 12x12."""
        run, (_, out, _) = multires
        rows = re.findall(r"│ (test/\S+), best checkpoint +│ (\S+) +│", out)
        names = ["test/accuracy", *(f"test/{name}" for name in BY_SIZE)]
        assert rows == [(name, f"{last(run, name):.4f}") for name in names]
        assert len(dict(rows).values()) == len(names)

    def test_checkpoint_at_sizes_it_was_never_trained_on(self, multires, here):
        run, _ = multires
        checkpoint = ("--ckpt_path", run / "checkpoints" / "best.ckpt")
        code, out, err = run_cli(
            here, "test", "--config", run / "config.yaml", *checkpoint, "--data.sizes=[30, [10, 9]]"
        )
        assert (code, err) == (0, "")
        accuracies = printed(out)
        assert set(accuracies) == {"test/accuracy", "test/accuracy/10x9", "test/accuracy/30x30"}
        mean = (accuracies["test/accuracy/10x9"] + accuracies["test/accuracy/30x30"]) / 2
        assert accuracies["test/accuracy"] == pytest.approx(mean)
        assert files_in(here) == set()

    def test_the_last_weights_are_tested_on_request(self, multires, here):
        run, _ = multires
        checkpoint = ("--ckpt_path", run / "checkpoints" / "last.ckpt")
        out = run_cli(here, "test", "--config", run / "config.yaml", *checkpoint).out
        found = json.loads((run / "results.json").read_text())["last"]
        assert {name: found[name] for name in printed(out)} == pytest.approx(printed(out))


def test_compiled_run_gives_the_same_numbers(here, monkeypatch):
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    for compiled in ("false", "true"):
        arguments = (f"--model.compile={compiled}", f"--run.name={compiled}", "--curves.every_n_epochs=0")
        assert run_cli(here, "fit", *MULTIRES, *SHORT, *CSV, *arguments, "--test_after_fit=false").code == 0
        assert (counter.frame_count > 0) == (compiled == "true")
    assert counter.frame_count < 8  # not one for each size, and none was given up
    runs = here / "lightning_logs" / "san_digits_multires"
    ours, theirs = read_metrics(runs / "true"), read_metrics(runs / "false")
    assert ours == [pytest.approx(row) for row in theirs]
    torch._dynamo.reset()


class TestNoOrphan:
    @pytest.fixture
    def started(self, monkeypatch):
        """How often a W&B run was started."""
        import wandb  # takes a second

        calls, init = [], wandb.init

        @functools.wraps(init)  # the signature is where the parser finds WandbLogger's options
        def noted(**arguments):
            calls.append(arguments)
            return init(**arguments)

        monkeypatch.setattr(wandb, "init", noted)
        return calls

    def test_data_that_fails_starts_no_run(self, here, monkeypatch, started):
        monkeypatch.setattr(Digits, "load", lambda self: open("no/such/file"))  # noqa: PTH123, SIM115
        assert run_cli(here, "fit", *DIGITS).code == 1
        assert started == []

    def test_aggregator_that_cannot_take_the_sizes_starts_no_run(self, here, started):
        assert run_cli(here, "fit", *MULTIRES, "--model.aggregator=Flatten").code == 1
        assert started == []

    def test_failure_after_the_start_takes_the_run_away(self, here, monkeypatch, started):
        def fail(self):
            raise ValueError("no optimiser")

        monkeypatch.setattr(SetClassifier, "configure_optimizers", fail)
        import wandb

        with mock.patch("wandb.Run.finish", autospec=True, side_effect=wandb.Run.finish) as finish:
            code, _, err = run_cli(here, "fit", *DIGITS)
        assert code == 1
        assert finish.call_args_list[0] == mock.call(mock.ANY, 1)
        assert "no optimiser" in err
        assert len(started) == 1
        assert files_in(here) == set()


def test_as_a_program_from_another_folder(here):
    """The one test that starts Python: nothing is said but what shall be."""
    arguments = ("fit", *DIGITS, *SHORT, *CSV, "--run.name=a")
    done = subprocess.run(
        [sys.executable, ROOT / "main.py", *arguments], cwd=here, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "`Trainer.fit` stopped: `max_epochs=2` reached.\n"
    assert (here / "lightning_logs" / "san_digits" / "a" / "metrics.csv").exists()
    assert {path.name for path in here.iterdir()} == {"lightning_logs"}


def test_a_machine_that_has_slurm_is_not_advised_to_use_it(here):
    srun = here / "bin" / "srun"
    srun.parent.mkdir()
    srun.touch(mode=0o755)
    code, _, err = run_cli(here, "fit", *DIGITS, "--trainer.fast_dev_run=1", PATH=str(srun.parent))
    assert code == 0
    assert "srun" not in err


@pytest.mark.parametrize(
    "callback", ["EMAWeightAveraging", "StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.01"]
)
def test_averaged_weights_are_tested_alike_at_the_end_and_later(callback, here):
    words = f"--trainer.callbacks lightning.pytorch.callbacks.{callback} --trainer.callbacks.device cpu".split()
    code, _, err = run_cli(here, "fit", *DIGITS, *SHORT, *words, "--test_last=true")
    assert code == 0, err
    run = only_run(here)
    measured = json.loads((run / "results.json").read_text())["metrics"]["test/loss"]
    checkpoint = ("--ckpt_path", run / "checkpoints" / "best.ckpt")
    code, out, err = run_cli(here, "test", "--config", run / "config.yaml", *checkpoint)
    assert (code, err) == (0, "")
    assert shown(out, "test/loss") == pytest.approx(measured, rel=1e-5)


def test_a_callback_with_an_enum_is_written_to_the_configuration(here):
    code, _, err = run_cli(here, "fit", *DIGITS, *SHORT, "--trainer.callbacks+=Timer")
    assert code == 0, err
    config = only_run(here) / "config.yaml"
    assert "interval: step" in config.read_text()
    code, _, err = run_cli(here, "fit", "--config", config, "--trainer.fast_dev_run=1")
    assert code == 0, err


@pytest.mark.parametrize(("precision", "aggregator"), [("bf16-true", "SAN"), ("64-true", "Flatten")])
def test_images_take_the_precision_of_the_model(here, precision, aggregator):
    arguments = (f"--trainer.precision={precision}", f"--model.aggregator={aggregator}", "--trainer.fast_dev_run=1")
    code, out, err = run_cli(here, "fit", *DIGITS, *arguments)
    assert code == 0, err
    assert ("no bfloat16 arithmetic" in out) == (precision == "bf16-true" and not multiplies_bfloat16())
