"""Every file under configs/ is run for two batches, but those for several processes, which are read only."""

import subprocess
import sys

import pytest
import yaml
from PIL import Image

from set_aggregation.models.classifier import SetClassifier
from tests.support.cli_runner import CSV, DIGITS, FEW_IMAGES, REHEARSAL, ROOT, run_cli

CONFIGS = ROOT / "configs"
EXPERIMENTS = sorted(CONFIGS.glob("*.yaml"))
KEYS = {
    "data": "data",
    "backbone": "model.backbone",
    "aggregator": "model.aggregator",
    "optimizer": "model.optimizer",
    "scheduler": "model.scheduler",
    "trainer": "trainer",
    "logger": "trainer.logger",
}
# One process of several would wait for the others; and no CPU takes FSDP.
STRATEGIES = {
    CONFIGS / "trainer" / "ddp.yaml": "ddp",
    CONFIGS / "trainer" / "fsdp.yaml": "lightning.pytorch.strategies.FSDPStrategy",
    CONFIGS / "trainer" / "multinode.yaml": "ddp",
}
ALL_PARTS = {path for kind in KEYS for path in (CONFIGS / kind).rglob("*.yaml")}
PARTS = sorted(ALL_PARTS - set(STRATEGIES))
MULTIRES_EXPERIMENTS = [path for path in EXPERIMENTS if path.stem.endswith("_multires")]
MULTIRES_DATA = [path for path in PARTS if path.stem.endswith("_multires")]
AGGREGATORS = {"original", "san", "avg", "max", "conv1x1", "flatten"}
BACKBONES = {  # as they stand in the name of a file, and the part that is meant
    "resnet56": "resnet56",
    "timm_resnet18": "timm",
    "torchvision_resnet18": "torchvision",
    "": "small_cnn",
}
DATA = {"cifar", "fashion_mnist", "digits", "images_folder"}

pytestmark = pytest.mark.usefixtures("stand_in_images")


def rehearse(folder, *arguments):
    """Runs two batches of training and validation on the CPU."""
    if any("timm" in str(argument) for argument in arguments):
        pytest.importorskip("timm", reason="timm is not installed")
    return run_cli(folder, "fit", *arguments, *REHEARSAL)


def name(path):
    return str(path.relative_to(CONFIGS))


def few_images(path, folder):
    """What makes a data set small; for a folder of images, some of them."""
    if path.stem.endswith("images_folder"):
        for name in ("cats", "dogs"):
            for number in range(10):
                file = folder / "images" / name / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (30 + number, 40)).save(file)
        return ("--data.num_workers=0",)
    return () if "digits" in path.stem else FEW_IMAGES


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_experiment_runs(tmp_path, path):
    code, out, err = rehearse(tmp_path, "--config", path, *few_images(path, tmp_path))
    assert code == 0, err
    assert "epoch 1/1" in out


@pytest.mark.parametrize("path", MULTIRES_EXPERIMENTS, ids=name)
def test_experiment_runs_trained_at_the_original_size(tmp_path, monkeypatch, path):
    """As the head of the file says it can."""
    trained_on, step = set(), SetClassifier.training_step

    def note(self, batch, batch_idx):
        trained_on.add(tuple(batch[0].shape[1:]))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SetClassifier, "training_step", note)
    arguments = (*few_images(path, tmp_path), "--data.train_sizes=original")
    code, _, err = rehearse(tmp_path, "--config", path, *arguments)
    assert code == 0, err
    original = {"cifar": (3, 32, 32), "fashion_mnist": (1, 28, 28), "digits": (1, 16, 16)}
    assert trained_on == {original[path.stem.split("_", 1)[1].removesuffix("_multires")]}


@pytest.mark.parametrize("path", PARTS, ids=name)
def test_part_runs_when_given_by_path(tmp_path, path):
    kind = path.relative_to(CONFIGS).parts[0]
    small = few_images(path, tmp_path) if kind == "data" else ()
    code, out, err = rehearse(tmp_path, *DIGITS, f"--{KEYS[kind]}={path}", *small)
    assert code == 0, err
    assert "epoch 1/1" in out
    part = yaml.safe_load(path.read_text())
    if kind in ("backbone", "aggregator"):
        assert f" {part['class_path']} " in out


@pytest.mark.parametrize(("path", "strategy"), STRATEGIES.items(), ids=lambda value: getattr(value, "stem", ""))
def test_part_for_several_processes_is_read(tmp_path, path, strategy):
    code, out, err = run_cli(tmp_path, "fit", *DIGITS, f"--trainer={path}", "--print_config")
    assert code == 0, err
    trainer = yaml.safe_load(out)["trainer"]
    assert trainer["devices"] == "auto"
    assert trainer["num_nodes"] == (2 if path.stem == "multinode" else 1)
    chosen = trainer["strategy"]
    assert (chosen if isinstance(chosen, str) else chosen["class_path"]) == strategy


def test_ddp_runs_with_two_processes(tmp_path):
    """Lightning starts the second one by the command of the first, so that the first has to be a program."""
    ddp = ("--trainer", CONFIGS / "trainer" / "ddp.yaml", "--trainer.devices=2", *CSV, "--trainer.max_epochs=1")
    command = [sys.executable, ROOT / "main.py", "fit", *DIGITS, *ddp, "--trainer.accelerator=cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Starting with 2 processes" in done.stderr
    assert done.stdout.count("everything is in") == 1
    (run,) = (tmp_path / "lightning_logs" / "san_digits").iterdir()
    assert (run / "checkpoints" / "best.ckpt").exists()


def test_every_file_is_an_experiment_a_part_a_sweep_or_a_job_script():
    known = {*EXPERIMENTS, *ALL_PARTS, *(CONFIGS / "sweep").rglob("*.yaml"), *(CONFIGS / "slurm").rglob("*.sbatch")}
    assert set(CONFIGS.rglob("*.*")) == known


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_experiment_bears_its_file_name(path):
    assert yaml.safe_load(path.read_text())["run"]["experiment"] == path.stem


def aggregator_backbone_and_data(path):
    """What the name of a file says: AGGREGATOR[_BACKBONE]_DATA."""
    aggregator, rest = path.stem.split("_", 1)
    backbone = next(each for each in BACKBONES if rest.startswith(each))
    return aggregator, backbone, rest.removeprefix(backbone).removeprefix("_")


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_file_is_named_by_aggregator_backbone_and_data(path):
    aggregator, _, rest = aggregator_backbone_and_data(path)
    assert aggregator in AGGREGATORS
    assert any(rest == data or rest.startswith(f"{data}_") for data in DATA)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_file_says_what_is_in_it(path):
    """The name of the file, and the parts it names, agree."""
    aggregators = {"original": "global_avg_pool", "avg": "global_avg_pool", "max": "global_max_pool"}
    aggregator, backbone, rest = aggregator_backbone_and_data(path)
    config = yaml.safe_load(path.read_text())
    assert config["model"]["aggregator"] == f"aggregator/{aggregators.get(aggregator, aggregator)}.yaml"
    assert config["model"]["backbone"] == f"backbone/{BACKBONES[backbone]}.yaml"
    augmented = "_augmented" if backbone else ""  # as residual networks are trained
    assert config["data"] == f"data/{rest.replace('cifar', 'cifar10')}{augmented}.yaml"
    assert path.read_text().startswith("# ")


TABLE_4 = {"original": 64, "avg": 4096, "max": 4096, "conv1x1": 4096, "san": 4096}


@pytest.mark.parametrize(("aggregator", "width"), TABLE_4.items())
def test_residual_networks_differ_in_aggregator_and_width_only(aggregator, width):
    """The five columns of Table 4."""
    config = yaml.safe_load((CONFIGS / f"{aggregator}_resnet56_cifar.yaml").read_text())
    original = yaml.safe_load((CONFIGS / "original_resnet56_cifar.yaml").read_text())
    assert config.pop("width", config["model"].pop("hidden_features", 64)) == width
    for each in (config, original):
        del each["run"], each["model"]["aggregator"]
    assert config == original


@pytest.mark.parametrize("path", MULTIRES_DATA, ids=name)
def test_several_sizes_are_split_and_batched_as_one(path):
    several = yaml.safe_load(path.read_text())["init_args"]
    one = yaml.safe_load(path.with_stem(path.stem.removesuffix("_multires")).read_text())["init_args"]
    assert several == one | {"sizes": several["sizes"], "train_sizes": "all"}
