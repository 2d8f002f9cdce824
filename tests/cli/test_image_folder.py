"""Images in folders from the command line: horizontal and vertical stripes, of forty sizes."""

import csv
import os
import re

import numpy as np
import pytest
from PIL import Image

from set_aggregation import load
from tests.support.cli_runner import CSV, ROOT, files_in, run_cli

pytestmark = pytest.mark.e2e

CONFIG = ("--config", str(ROOT / "configs" / "san_image_folder.yaml"))
CLASSES = ("horizontal", "vertical")
NUM_SIZES, NUM_IMAGES = 40, 200
SHORT = (
    *("--trainer.max_epochs=4", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=2", *CSV),
    *("--model.aggregator.out_features=16", "--model.aggregator.reduction=mean", "--model.optimizer.lr=0.01"),
    *("--data.max_side=24", "--data.batch_size=10", "--data.num_workers=0", "--data.num_buckets=4"),
)


def stripes(file, name, h, w, width=3, phase=0):
    """Stripes of a width, along the rows or along the columns."""
    along = np.arange(h)[:, None] if name == "horizontal" else np.arange(w)
    levels = np.broadcast_to((along + phase) // width % 2 * 200 + 20, (h, w))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels.astype(np.uint8)).convert("RGB").save(file)
    return file


def some_sizes(num):
    """Different sizes, between 16 and 31 pixels."""
    sides = np.random.default_rng(0).choice(16 * 16, num, replace=False)
    return [(16 + side // 16, 16 + side % 16) for side in sides.tolist()]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    sizes = some_sizes(NUM_SIZES)
    for i in range(NUM_IMAGES):
        name = CLASSES[i % 2]
        stripes(root / name / f"{i:03}.png", name, *sizes[i // 2 % NUM_SIZES], phase=i % 6)
    return root


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """The run's folder and outcome."""
    folder = tmp_path_factory.mktemp("folder")
    outcome = run_cli(folder, "fit", *CONFIG, *SHORT, "--data.root", images)
    (run,) = (folder / "lightning_logs" / "san_image_folder").iterdir()
    return run, outcome


def best(run):
    return "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "best.ckpt"


def refused(folder, *arguments):
    """Runs the command line and gives the one line it ends with."""
    before = files_in(folder)
    code, out, err = run_cli(folder, *arguments)
    assert code != 0
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    assert files_in(folder) == before
    return err


def test_tells_the_classes(trained):
    _, (code, out, err) = trained
    assert (code, err) == (0, "`Trainer.fit` stopped: `max_epochs=4` reached.\n")
    assert float(re.search(r"test/accuracy, best checkpoint +│ +([\d.]+)", out)[1]) >= 0.9


def test_counts_the_accuracy_of_each_size(trained):
    run, (_, out, _) = trained
    sizes = re.findall(r"test/accuracy/(\d+)x(\d+), best checkpoint", out)
    assert 2 <= len(sizes) <= 4
    assert all(int(side) <= 24 for size in sizes for side in size)
    with (run / "metrics.csv").open() as file:
        names = csv.DictReader(file).fieldnames
    assert {f"test/accuracy/{h}x{w}" for h, w in sizes} <= set(names)


def test_nothing_lies_among_the_images(trained, images):
    assert len(files_in(images)) == NUM_IMAGES + len(CLASSES)


def test_checkpoint_gives_the_numbers_of_the_fit(trained, here):
    run, (_, out, _) = trained
    code, again, err = run_cli(here, "test", *best(run))
    assert (code, err) == (0, "")
    in_fit = dict(re.findall(r"(test/accuracy\S*), best checkpoint +│ +([\d.]+)", out))
    tested = dict(re.findall(r"(test/accuracy\S*) +│ +([\d.]+)", again))
    assert len(in_fit) >= 3
    assert {name: pytest.approx(float(value), abs=1e-4) for name, value in in_fit.items()} == {
        name: float(value) for name, value in tested.items()
    }
    assert files_in(here) == set()


def test_run_from_its_config_gives_the_same(trained, here):
    run, _ = trained
    assert run_cli(here, "fit", "--config", run / "config.yaml").code == 0
    (again,) = (here / "lightning_logs" / "san_image_folder").iterdir()
    for file in ("metrics.csv", "config.yaml"):
        assert (again / file).read_bytes() == (run / file).read_bytes()


def test_worker_processes_give_the_same(trained, here):
    run, _ = trained
    arguments = ("--trainer.max_epochs=1", "--data.num_workers=1", "--test_after_fit=false", "--run.name=a")
    code, _, err = run_cli(here, "fit", "--config", run / "config.yaml", *arguments)
    assert code == 0, err
    rows = []
    for folder in (run, here / "lightning_logs" / "san_image_folder" / "a"):
        with (folder / "metrics.csv").open() as file:
            rows.append(
                [row["train/loss"] for row in csv.DictReader(file) if row["epoch"] == "0" and row["train/loss"]]
            )
    assert rows[0] == rows[1] != []


def test_predicts_images_of_odd_sizes(trained, here):
    run, _ = trained
    sizes = [(17, 17), (23, 9), (80, 61), (80, 61), (9, 23), (31, 16)]
    names = [CLASSES[i % 2] for i in range(len(sizes))]
    files = [f"odd/{i}.png" for i in range(len(sizes))]
    for file, name, (h, w) in zip(files, names, sizes, strict=True):
        stripes(here / file, name, h, w, width=3 if h < 40 else 10)
    code, out, err = run_cli(here, "predict", *best(run)[-2:], "--images", *files[::-1])
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [(file, name) for file, name, _ in rows] == list(zip(files, names, strict=True))[::-1]
    assert all(re.fullmatch(r"0\.\d{4}|1\.0000", probability) for _, _, probability in rows)
    assert all(0.5 <= float(probability) <= 1 for _, _, probability in rows)


def test_images_of_ten_bits_keep_the_scale_of_the_training(here, monkeypatch):
    warned = []
    monkeypatch.setattr("set_aggregation.data.image_folder.rank_zero_warn", lambda text, **_: warned.append(text))
    for i in range(24):
        file = stripes(here / "images" / CLASSES[i % 2] / f"{i}.png", CLASSES[i % 2], 20, 20)
        levels = np.asarray(Image.open(file).convert("L"), np.uint16)
        Image.fromarray(levels * 4).save(file)
        (here / "dark" / CLASSES[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(here / "dark" / CLASSES[i % 2] / file.name)
    arguments = ("--data.in_channels=1", "--trainer.max_epochs=1", "--test_after_fit=false")
    assert run_cli(here, "fit", *CONFIG, *SHORT, *arguments).code == 0
    (run,) = (here / "lightning_logs" / "san_image_folder").iterdir()
    assert load(run).white == 1023
    assert run_cli(here, "test", *best(run), "--data.root=dark").code == 0
    assert [text for text in warned if "white" in text] == warned[:1]  # nothing is guessed again


def test_folder_that_is_not_there(here):
    line = refused(here, "fit", *CONFIG, *SHORT, "--data.root=nothing")
    assert "got root=nothing, expected a folder with a folder of images for each class" in line


def test_folder_of_the_configuration_that_is_not_there(here):
    assert "got root=images, expected a folder" in refused(here, "fit", *CONFIG)


def test_flatten(here, images):
    line = refused(here, "fit", *CONFIG, *SHORT, "--data.root", images, "--model.aggregator=Flatten")
    assert "Flatten: got set_size=None" in line
    assert "use SAN, GlobalAvgPool or GlobalMaxPool" in line


def test_flatten_of_one_size(here, images):
    flatten = ("--model.aggregator=Flatten", "--model.aggregator.set_size=36")
    line = refused(here, "fit", *CONFIG, *SHORT, "--data.root", images, *flatten)
    assert "Flatten: got images of " in line
    assert "expected one size, whose feature map has 36 elements" in line


def test_argument_out_of_its_range(here, images):
    line = refused(here, "fit", *CONFIG, *SHORT, "--data.root", images, "--data.max_aspect_change=1")
    assert "ImageFolder: got max_aspect_change=1.0, expected more than 1" in line


@pytest.fixture
def spoilt(here):
    """A few images, one of which cannot be read."""
    for i in range(24):
        stripes(here / "images" / CLASSES[i % 2] / f"{i}.png", CLASSES[i % 2], 16, 20)
    (here / "images" / "vertical" / "bad.jpg").write_bytes(b"no image")
    return here / "images"


def test_unreadable_files_stop_it(here, spoilt):
    line = refused(here, "fit", *CONFIG, *SHORT)
    assert "ImageFolder: got 1 of 25 files that cannot be read: " in line
    assert "vertical/bad.jpg" in line
    assert "--data.unreadable skip" in line


def test_unreadable_files_are_skipped(here, spoilt, monkeypatch):
    warned = []
    monkeypatch.setattr("set_aggregation.data.image_folder.rank_zero_warn", lambda text, **_: warned.append(text))
    code, out, err = run_cli(here, "fit", *CONFIG, *SHORT, "--data.unreadable=skip", "--trainer.max_epochs=1")
    assert code == 0, err
    assert "test/accuracy" in out
    (text,) = warned
    assert text.startswith("leaving out 1 of 25 files that cannot be read: ")
    assert "bad.jpg" in text


def test_image_that_breaks_after_the_first_look(here, spoilt):
    """A worker process comes upon it, which is one line too; what the run has written stays."""
    (spoilt / "vertical" / "bad.jpg").unlink()
    assert run_cli(here, "fit", *CONFIG, *SHORT, "--trainer.fast_dev_run=1").code == 0
    broken = spoilt / "vertical" / "1.png"
    before = broken.stat()
    broken.write_bytes(b"x" * before.st_size)
    os.utime(broken, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, _, err = run_cli(here, "fit", *CONFIG, *SHORT, "--data.num_workers=1")
    assert code != 0
    assert err.count("\n") == 1
    assert "images/vertical/1.png" in err
