"""Whatever a person gets wrong: one line that says what, an exit code, and nothing left behind."""

import hashlib
import os
import socket

import pytest
import torch

from set_aggregation import aggregators
from tests.support.cli_runner import CSV, DIGITS, ROOT, SHORT, files_in, run_cli

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
    "unknown backbone": (
        (*FIT, "--model.backbone=SmalCNN"),
        ("model.backbone SmalCNN", "ResNetCIFAR", "SmallCNN", "did you mean SmallCNN?"),
    ),
    "unknown data": (
        (*FIT, "--data=CIFAR11"),
        ("data CIFAR11", "CIFAR10, Digits, FashionMNIST", "did you mean CIFAR10?"),
    ),
    "unknown section": ((*FIT, "--trainr.max_epochs=1"), ("trainr.max_epochs",)),
    "misspelt trainer key": (
        (*FIT, "--trainer.max_epochz=1"),
        ("trainer.max_epochz", "did you mean trainer.max_epochs?"),
    ),
    "prefix of a trainer key": (
        (*FIT, "--trainer.max_epoch=1"),
        ("trainer.max_epoch,", "did you mean trainer.max_epochs?"),
    ),
    "prefix and value apart": ((*FIT, "--trainer.max_epoch", "1"), ("trainer.max_epoch,",)),
    "misspelt model key": ((*FIT, "--model.hiden_features=8"), ("did you mean model.hidden_features?",)),
    "prefix of a model key": ((*FIT, "--model.initial=glorot"), ("model.initial", "not an option")),
    "misspelt aggregator key": ((*FIT, "--model.aggregator.out_feature=8"), ("out_feature",)),
    "key of another aggregator": ((*FIT, "--model.aggregator=Flatten", "--model.aggregator.channels=2"), ("channels",)),
    "misspelt data key": ((*FIT, "--data.batchsize=8"), ("batchsize",)),
    "data key before the data": (
        ("fit", "--data.data_dir=folder", *CIFAR[1:]),
        ("got data.data_dir before", "put --config or --data before it"),
    ),
    "misspelt run key": ((*FIT, "--run.nam=a"), ("run.nam",)),
    "no number": ((*FIT, "--trainer.max_epochs=many"), ("trainer.max_epochs", "many")),
    "out_features zero": ((*FIT, "--model.aggregator.out_features=0"), ("SAN: got out_features=0", "at least 1")),
    "out_features negative": ((*FIT, "--model.aggregator.out_features=-3"), ("SAN: got out_features=-3", "at least 1")),
    "out_features no number": ((*FIT, "--model.aggregator.out_features=x"), ("out_features",)),
    "batch_size zero": ((*FIT, "--data.batch_size=0"), ("Digits: got batch_size=0", "at least 1")),
    "batch_size negative": ((*FIT, "--data.batch_size=-1"), ("Digits: got batch_size=-1", "at least 1")),
    "batch_size too large": ((*FIT, "--data.batch_size=1258"), ("batch_size=1258", "at most the 1257 training images")),
    "val_size zero": ((*FIT, "--data.val_size=0"), ("Digits: got val_size=0", "at least 1")),
    "val_size negative": ((*FIT, "--data.val_size=-1"), ("Digits: got val_size=-1", "at least 1")),
    "val_size too large": ((*FIT, "--data.val_size=1437"), ("val_size=1437", "fewer than the 1437 images")),
    "num_train too large": ((*FIT, "--data.num_train=1258"), ("num_train=1258", "at most 1257")),
    "Flatten of another size": (
        (*FIT, "--model.aggregator=Flatten", "--model.aggregator.set_size=9"),
        ("Flatten: got set_size=9", "sets of set_size=16"),
    ),
    "Conv1x1 of another size": (
        (*FIT, "--model.aggregator=Conv1x1", "--model.aggregator.set_size=25"),
        ("Conv1x1: got set_size=25", "sets of set_size=16"),
    ),
    "unknown accelerator": ((*FIT, "--trainer.accelerator=gpuu"), ("accelerator='gpuu'", "auto, ")),
    "no checkpoint given": (("test", *DIGITS), ("--ckpt_path",)),
    "checkpoint not there": (("test", *DIGITS, "--ckpt_path=no.ckpt"), ("checkpoint not found: no.ckpt",)),
    "checkpoint to go on with not there": ((*FIT, "--ckpt_path=no.ckpt"), ("checkpoint not found: no.ckpt",)),
    "checkpoint is a folder": (("test", *DIGITS, "--ckpt_path=."), ("checkpoint not found: .;",)),
    "no subcommand": ((), ("fit", "validate", "test", "predict")),
    "unknown subcommand": (("fitt", *DIGITS), ("fitt", "fit", "validate", "test", "predict")),
    "unknown config file": (("fit", "--config=no.yaml"), ("no.yaml",)),
    "images not asked for": (("predict", *DIGITS, "--ckpt_path=no.ckpt"), ("images",)),
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
    "Conv1x1": (("--model.aggregator=Conv1x1",), (f"Conv1x1: {ALL_SIZES}",)),
    "Conv1x1 with a size by hand": (
        ("--model.aggregator=Conv1x1", "--model.aggregator.set_size=16"),
        (f"Conv1x1: {ALL_SIZES}",),
    ),
    "Flatten by file": ((f"--model.aggregator={ROOT}/configs/aggregator/flatten.yaml",), (f"Flatten: {ALL_SIZES}",)),
    "Flatten trained at one size": (
        ("--model.aggregator=Flatten", "--data.train_sizes=original", "--data.sizes=[8, 16]"),
        ("Flatten: got images of 8x8, 16x16",),
    ),
    "no size": (("--data.sizes=[]",), ("Digits: got sizes=[]", NO_SIZES)),
    "a size twice": (("--data.sizes=[16, 16]",), ("got sizes=[16, 16]", NO_SIZES)),
    "a size twice, as side and as pair": (("--data.sizes=[16, [16, 16]]",), ("got sizes=[16, (16, 16)]", NO_SIZES)),
    "size zero": (("--data.sizes=[0]",), ("got sizes=[0]", NO_SIZES)),
    "height zero": (("--data.sizes=[[0, 8]]",), ("got sizes=[(0, 8)]", NO_SIZES)),
    "size negative": (("--data.sizes=[-8, 16]",), ("got sizes=[-8, 16]", NO_SIZES)),
    "sizes not whole": (("--data.sizes=[1.5, 16]",), ("data.sizes", "1.5")),
    "sizes of words": (("--data.sizes=[abc]",), ("data.sizes", "abc")),
    "sizes with an x": (("--data.sizes=[8x8]",), ("data.sizes", "8x8")),
    "no training size": (("--data.train_sizes=[]",), ("Digits: got train_sizes=[]", NO_SIZES)),
    "a training size twice": (("--data.train_sizes=[8, 8]",), ("got train_sizes=[8, 8]", NO_SIZES)),
    "training size zero": (("--data.train_sizes=[0]",), ("got train_sizes=[0]", NO_SIZES)),
    "training sizes of words": (("--data.train_sizes=[abc]",), ("data.train_sizes", "abc")),
    "resample neither true nor false": (("--data.resample=perhaps",), ("data.resample perhaps", "bool")),
    "antialias neither true nor false": (("--data.antialias=2",), ("data.antialias 2", "bool")),
    "compile neither true nor false": (("--model.compile=perhaps",), ("model.compile perhaps", "bool")),
    "size_seed negative": (("--data.size_seed=-1",), ("Digits: got size_seed=-1", "at least 0")),
    "size_seed no number": (("--data.size_seed=x",), ("data.size_seed x", "int")),
    "max_pixels_per_batch zero": (("--data.max_pixels_per_batch=0",), ("got max_pixels_per_batch=0", "at least 1")),
    "batch_size too large": (("--data.batch_size=1258",), ("batch_size=1258", "at most the 1257 training images")),
    "num_train too large": (("--data.num_train=1258",), ("num_train=1258", "at most 1257")),
    "sizes that no machine can hold": (
        ("--data.sizes=[1000000000]",),
        ("Digits: got images that take", "GB of memory", "use fewer"),
    ),
    "misspelt sizes": (("--data.size=[8]",), ("data.size,", "did you mean sizes?")),
    "misspelt train_sizes": (("--data.train_size=all",), ("data.train_size,", "did you mean train_sizes?")),
    "misspelt data": (("--data=Digit",), ("Digit", "did you mean Digits?")),
}


@pytest.mark.parametrize(("arguments", "fragments"), SEVERAL_SIZES.values(), ids=SEVERAL_SIZES)
def test_several_sizes(here, arguments, fragments):
    line = refused(here, *MULTIRES, *arguments)
    for fragment in fragments:
        assert fragment in line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("sizes", value) for value in ("abc", "16", "8x8", "8,12", "true", "[8, 12", "[[8, 8, 8]]")),
        *(("train_sizes", value) for value in ("none", "All", "orignal", "16")),
    ],
)
def test_several_sizes_mistyped(here, option, value):
    line = refused(here, *MULTIRES, f"--data.{option}={value}")
    assert f"data.{option} {value}" in line
    assert "NoneType" not in line
    assert "NestedArg" not in line


def test_misspelt_argument_of_the_data_set_below(here):
    line = refused(here, *MULTIRES, "--data.batchsize=8")
    assert "did you mean batch_size?" in line
    assert "arguments" not in line


def test_each_known_name_is_said_once(here):
    line = refused(here, *MULTIRES, "--data=CIFAR11")
    assert line.count("FashionMNIST") == 1


def test_batch_too_small_for_an_image(here):
    line = refused(here, *MULTIRES, "--data.max_pixels_per_batch=100")
    assert "got max_pixels_per_batch=100, expected at least the 576 pixels of an image of 24x24" in line


@pytest.mark.parametrize(
    ("arguments", "needed"),  # 1,257 images to train on, 540 others
    [
        (("--data.sizes=[1000]",), "1.8"),
        (("--data.sizes=[1000]", "--data.num_train=100"), "0.6"),
        (("--data.sizes=[8]", "--data.train_sizes=[1000]"), "1.3"),
        (("--data.sizes=[8]", "--data.train_sizes=[1000, 16]"), "0.6"),
        (("--data.sizes=[8]", "--data.train_sizes=[1000, 16]", "--data.resample=true"), "1.3"),
    ],
)
def test_images_too_large_for_the_memory(here, monkeypatch, arguments, needed):
    monkeypatch.setattr("set_aggregation.data.in_memory.available_memory", lambda: 500_000_000)
    line = refused(here, *MULTIRES, *arguments)
    assert f"got images that take {needed} GB of memory, expected at most the 0.5 GB that are free" in line


@pytest.mark.parametrize("subcommand", ["validate", "test"])
@pytest.mark.parametrize("aggregator", ["Flatten", "Conv1x1"])
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
    "unknown section": ("trainr:\n  max_epochs: 1\n", ("trainr",)),
    "misspelt top-level key": ("test_after_fitt: false\n", ("test_after_fitt",)),
    "misspelt trainer key": ("trainer:\n  max_epochz: 1\n", ("max_epochz",)),
    "prefix of a trainer key": ("trainer:\n  max_epoch: 1\n", ("max_epoch",)),
    "misspelt model key": ("model:\n  hiden_features: 1\n", ("hiden_features",)),
    "misspelt aggregator key": (
        "model:\n  aggregator:\n    class_path: SAN\n    init_args:\n      out_featurs: 8\n",
        ("model.aggregator.out_featurs", "did you mean out_features?"),
    ),
    "misspelt data key": (
        "data:\n  class_path: Digits\n  init_args:\n    batchsize: 8\n",
        ("data.batchsize", "did you mean batch_size?"),
    ),
    "unknown aggregator": ("model:\n  aggregator: SAMN\n", ("model.aggregator SAMN", *AGGREGATORS)),
    "unknown aggregator class": ("model:\n  aggregator:\n    class_path: SAMN\n", ("SAMN", *AGGREGATORS)),
    "unknown backbone class": ("model:\n  backbone:\n    class_path: SmalCNN\n", ("SmalCNN", "SmallCNN")),
    "unknown data class": ("data:\n  class_path: CIFAR11\n", ("CIFAR11", "CIFAR10, Digits, FashionMNIST")),
    "no size": (
        "data:\n  class_path: Digits\n  init_args:\n    sizes: []\n",
        ("Digits: got sizes=[]",),
    ),
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
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_accelerator_that_is_not_there(here, accelerator):
    line = refused(here, *FIT, f"--trainer.accelerator={accelerator}")
    assert f"--trainer.accelerator {accelerator}, which this machine does not have" in line
    assert "use --trainer.accelerator auto" in line


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_data_missing_while_offline(here, monkeypatch, subcommand, trained_on_cifar):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # closed again: whoever connects is refused
    monkeypatch.setattr("set_aggregation.data.cifar10._ADDRESSES", (f"http://127.0.0.1:{port}/",) * 2)
    arguments = () if subcommand == "fit" else ("--ckpt_path", trained_on_cifar)
    line = refused(here, subcommand, *CIFAR[1:], "--model.aggregator.out_features=8", *arguments)
    assert "CIFAR10" in line
    for way_out in ("Connect to the network", "--data.data_dir or SAN_DATA_DIR", "--data Digits"):
        assert way_out in line


@pytest.fixture
def trained_on_cifar(tmp_path):
    """A checkpoint that fits the model of configs/san_cifar.yaml with M = 8."""
    from functools import partial

    from set_aggregation.aggregators import SAN
    from set_aggregation.backbones import SmallCNN
    from set_aggregation.models.classifier import SetClassifier

    model = SetClassifier(SmallCNN(in_channels=3), partial(SAN, out_features=8), num_classes=10, image_size=(32, 32))
    torch.save({"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.6"}, tmp_path / "cifar.ckpt")
    return tmp_path / "cifar.ckpt"


@pytest.fixture
def cifar_files(here, monkeypatch):
    """Stand-ins for the files of CIFAR-10, whose checksums hold."""
    folder = here / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(b"%d" % number * 100)
    checksums = {
        f"cifar-10-batches-py/{file.name}": hashlib.md5(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }
    monkeypatch.setattr("set_aggregation.data.cifar10._CHECKSUMS", checksums)
    return folder


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def truncate(folder):
    file = folder / "data_batch_3"
    file.write_bytes(file.read_bytes()[:50])


def corrupt(folder):
    (folder / "data_batch_3").write_bytes(b"\0" + b"3" * 99)


def swap(folder):
    (folder / "data_batch_4").rename(folder / "spare")
    (folder / "data_batch_3").rename(folder / "data_batch_4")
    (folder / "spare").rename(folder / "data_batch_3")


def plant_a_pickle(folder):
    torch.save(Bomb(), folder / "data_batch_3", _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("damage", [truncate, corrupt, swap, plant_a_pickle])
def test_data_file_that_is_not_the_published_one(here, cifar_files, damage):
    damage(cifar_files)
    line = refused(here, *CIFAR)
    assert "data/cifar-10-batches-py/data_batch_3, which is damaged" in line


def test_checkpoint_cut_off(here, run_folder):
    whole = (run_folder / "checkpoints" / "best.ckpt").read_bytes()
    (here / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    assert "the checkpoint cut.ckpt, which is damaged" in refused(here, "test", *DIGITS, "--ckpt_path=cut.ckpt")


@pytest.mark.parametrize("content", [b"", b"\x80\x02c", bytes(range(256)) * 9, b"state_dict: 1\n"])
def test_checkpoint_of_something_else(here, content):
    (here / "some.ckpt").write_bytes(content)
    line = refused(here, "validate", *DIGITS, "--ckpt_path=some.ckpt")
    assert "the checkpoint some.ckpt, which is damaged or no checkpoint of this project" in line


def test_checkpoint_that_is_a_program(here):
    torch.save({"state_dict": Bomb()}, here / "bomb.ckpt")
    assert "bomb.ckpt, which is damaged or no checkpoint" in refused(here, "test", *DIGITS, "--ckpt_path=bomb.ckpt")


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_checkpoint_of_another_model(here, run_folder, subcommand):
    (here / "image.png").touch()
    images = ("--images=image.png",) if subcommand == "predict" else ()
    line = refused(here, subcommand, *DIGITS, "--ckpt_path", run_folder / "checkpoints" / "best.ckpt", *images)
    assert "best.ckpt of another model: its pool.aggregator.projection.bias is (8,), expected (1024,)" in line
    assert "config.yaml" in line


def test_flatten_tested_on_images_of_another_size(here):
    flatten = (*DIGITS, "--model.aggregator=Flatten")
    assert run_cli(here, "fit", *flatten, *CSV, *SHORT[:3], "--run.name=a").code == 0
    checkpoint = "lightning_logs/san_digits/a/checkpoints/best.ckpt"
    line = refused(here, "test", *flatten, "--data=FashionMNIST", f"--ckpt_path={checkpoint}")
    assert "of another model" in line
    assert "(10, 1024), expected (10, 1024)" not in line


@pytest.mark.parametrize("way", ["lightning_logs", "lightning_logs/san_digits"])
def test_file_where_the_log_folder_should_be(here, way):
    (here / way).parent.mkdir(exist_ok=True)
    (here / way).touch()
    line = refused(here, *FIT)
    assert "run folder lightning_logs/san_digits/" in line
    assert "--run.root" in line


def test_run_folder_that_is_there(here):
    (here / "lightning_logs" / "san_digits" / "a").mkdir(parents=True)
    line = refused(here, *FIT, "--run.name=a")
    assert "lightning_logs/san_digits/a exists" in line
    assert "--run.name" in line


@pytest.mark.parametrize("content", [None, b"no image"], ids=["not there", "no image"])
def test_image_that_cannot_be_read(here, run_folder, content):
    if content is not None:
        (here / "image.png").write_bytes(content)
    checkpoint = run_folder / "checkpoints" / "best.ckpt"
    config = run_folder / "config.yaml"
    line = refused(here, "predict", "--config", config, "--ckpt_path", checkpoint, "--images", "image.png")
    assert "got image.png, which is not" in line


def test_folder_without_images(here, run_folder):
    checkpoint = run_folder / "checkpoints" / "best.ckpt"
    line = refused(here, "predict", "--config", run_folder / "config.yaml", "--ckpt_path", checkpoint, "--images=.")
    assert "no image file in ." in line


def test_loss_that_is_no_number(here):
    """Training had begun: what it wrote stays."""
    outcome = run_cli(here, *FIT, *CSV, *SHORT, "--model.optimizer.lr=1e30", "--run.name=a")
    assert outcome.code != 0
    assert "Traceback" not in outcome.err
    assert outcome.err.count("\n") == 1
    assert "error: got a loss or gradient that is not a finite number at step 2" in outcome.err
    run = here / "lightning_logs" / "san_digits" / "a"
    assert "lr: 1.0e+30" in (run / "config.yaml").read_text()
    assert "nan" in (run / "metrics.csv").read_text()
    assert not list(run.rglob("*.ckpt"))


def test_debug_option_gives_the_traceback(here):
    with pytest.raises(ValueError, match="batch_size=0"):
        run_cli(here, *FIT, "--data.batch_size=0", "--debug")


def test_debug_variable_gives_the_traceback(here):
    with pytest.raises(ValueError, match="batch_size=0"):
        run_cli(here, *FIT, "--data.batch_size=0", SAN_DEBUG="1")


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
