"""Every file under configs/ is parsed, instantiated and takes one step; five are trained."""

import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from tests.support.cli_runner import DIGITS, FEW_IMAGES, REHEARSAL, ROOT, fit_parser, run_cli

CONFIGS = ROOT / "configs"
EXPERIMENTS = sorted(CONFIGS.glob("*.yaml"))
KEYS = {
    "aggregator": "model.aggregator",
    "backbone": "model.backbone",
    "data": "data",
    "logger": "trainer.logger",
    "model": "model",
    "optimizer": "model.optimizer",
    "scheduler": "model.scheduler",
    "trainer": "trainer",
}
PARTS = sorted(path for kind in KEYS for path in (CONFIGS / kind).rglob("*.yaml"))
FIRST = {path.parent: path for path in reversed(PARTS)}.values()
HARDWARE = ("ddp", "fsdp", "multinode")
RESNET = ("--config", str(CONFIGS / "san_resnet56_cifar.yaml"))

pytestmark = pytest.mark.usefixtures("stand_in_images")


def name(path):
    return str(path.relative_to(CONFIGS))


def cases(paths, is_slow):
    return [pytest.param(path, id=name(path), marks=[pytest.mark.slow] * is_slow(path)) for path in paths]


def parse(*arguments):
    return fit_parser().parse_args([str(word) for word in arguments])


def small(path, folder):
    """The options that make the data of a file small."""
    if path.stem.endswith("image_folder"):
        for index in range(20):
            file = folder / "images" / ("cats" if index % 2 else "dogs") / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30 + index, 40)).save(file)
        return (f"--data.root={folder / 'images'}", "--data.num_workers=0", "--data.batch_size=4")
    return FEW_IMAGES


def take_a_step(config):
    """Build model and data, and take one optimizer step on one batch."""
    config.trainer.logger = False
    built = fit_parser().instantiate(config)
    built.data.setup("fit")
    built.model.scheduler = None  # needs a trainer
    optimizer = built.model.configure_optimizers()
    before = [weight.detach().clone() for weight in built.model.parameters()]
    images, labels = built.data.on_after_batch_transfer(next(iter(built.data.train_dataloader())), 0)
    F.cross_entropy(built.model(images), labels).backward()
    optimizer.step()
    assert not all(map(torch.equal, before, built.model.parameters()))
    return built.model


@pytest.mark.parametrize("path", cases(EXPERIMENTS, lambda path: "resnet" in path.stem))
def test_an_experiment_takes_a_step(tmp_path, monkeypatch, path):
    if "timm" in path.stem:
        pytest.importorskip("timm", reason="timm is not installed")
    monkeypatch.chdir(tmp_path)
    config = parse("--config", path, *small(path, tmp_path))
    assert config.run.experiment == path.stem
    take_a_step(config)


@pytest.mark.parametrize(
    "path",
    cases([path for path in PARTS if path.parent.stem not in ("logger", "trainer")], lambda path: path not in FIRST),
)
def test_a_part_takes_a_step(tmp_path, monkeypatch, path):
    if path.stem == "timm":
        pytest.importorskip("timm", reason="timm is not installed")
    monkeypatch.chdir(tmp_path)
    kind = path.parent.stem
    model = take_a_step(parse(*DIGITS, f"--{KEYS[kind]}={path}", *small(path, tmp_path)))
    if kind in ("aggregator", "backbone"):
        assert type(getattr(model, kind)).__name__ == yaml.safe_load(path.read_text())["class_path"]


@pytest.mark.parametrize("path", sorted((CONFIGS / "logger").glob("*.yaml")), ids=name)
def test_a_logger_is_parsed(path):
    content = yaml.safe_load(path.read_text())
    loggers = parse(*DIGITS, f"--trainer.logger={path}").trainer.logger
    assert len(loggers if isinstance(loggers, list) else [loggers]) == (2 if isinstance(content, list) else 1)


@pytest.mark.parametrize("stem", HARDWARE)
def test_hardware_files_hold_hardware_only(stem):
    trainer = parse(*RESNET, f"--trainer={CONFIGS / 'trainer' / stem}.yaml").trainer
    assert trainer.strategy != "auto"
    assert (trainer.max_epochs, trainer.gradient_clip_val) == (200, 1.0)
    assert len(trainer.logger) == 2


def test_other_trainer_files_hold_no_hardware():
    others = [path for path in (CONFIGS / "trainer").glob("*.yaml") if path.stem not in HARDWARE]
    assert not any({"strategy", "num_nodes"} & yaml.safe_load(path.read_text()).keys() for path in others)


@pytest.mark.parametrize("path", sorted((CONFIGS / "model").glob("*.yaml")), ids=name)
def test_a_model_sets_aggregator_and_width_only(path):
    content = yaml.safe_load(path.read_text())
    assert set(content) == {"aggregator", "hidden_features", "hidden_activation"}
    assert (content["hidden_features"] is None) == (path.stem in ("san", "original"))


def test_a_model_keeps_the_rest_of_the_experiment():
    """The columns of Table 4 differ in aggregator and width only."""
    rest = [
        {
            key: value
            for key, value in parse(*RESNET, *model).model.as_dict().items()
            if key not in ("__path__", "aggregator", "hidden_features")
        }
        for model in ((), (f"--model={CONFIGS / 'model' / 'max.yaml'}",))
    ]
    assert rest[0] == rest[1]


@pytest.mark.parametrize("path", sorted((CONFIGS / "data").glob("*_multires.yaml")), ids=name)
def test_several_sizes_are_split_and_batched_as_one(path):
    several, one = (
        yaml.safe_load(file.read_text()) for file in (path, path.with_stem(path.stem.removesuffix("_multires")))
    )
    assert len(several["init_args"].pop("sizes")) == 5
    several["init_args"].pop("train_sizes", None)
    assert several == one


@pytest.mark.e2e
@pytest.mark.parametrize(
    "experiment", ["san_cifar", "san_fashion_mnist_multires", "san_digits", "san_image_folder", "san_resnet56_cifar"]
)
def test_an_experiment_is_trained(tmp_path, experiment):
    path = CONFIGS / f"{experiment}.yaml"
    code, out, err = run_cli(tmp_path, "fit", "--config", path, *small(path, tmp_path), *REHEARSAL)
    assert code == 0, err
    assert "epoch 1/1" in out


def test_every_file_is_known():
    jobs = [*(CONFIGS / "sweep").rglob("*.yaml"), *(CONFIGS / "slurm").rglob("*.sbatch")]
    assert {*EXPERIMENTS, *PARTS, *jobs} == set(CONFIGS.rglob("*.*"))
