import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from set_aggregation.reports.run_report import MisclassifiedImage, write_report

PARTS = ("train_accuracy", "train_loss", "test_accuracy", "test_loss", "gap")
RESULTS = {
    "experiment": "an experiment",
    "run": "a run",
    "aggregator": "SAN",
    "data": "Digits",
    "width": 77,
    "seed": 3,
    "epochs": 2,
    "steps": 6,
    "best": {"epoch": 1, "val/accuracy": 0.5},
    "metrics": {"test/accuracy": 0.4321, "val/accuracy/8x8": 0.1111},
    "parameters": {"backbone": 55744, "aggregator": 536, "head": 90, "all": 56370},
    "seconds": {"all": 2.0, "training": 1.0, "learning curves": 0.1},
    "environment": {"command": "python main.py fit", "commit": "0123abc", "versions": "torch 2.15.0"},
    "curves": [],  # which take most of the time of a page
}
CURVES = [{"epoch": 1 + i, "step": 3, **{f"curve/{part}": 0.5 for part in PARTS}} for i in range(2)]
ROWS = {"test/accuracy, best checkpoint": "0.4321", "learning curves took": "7.0 % of the time of training"}
CONFIG = "model:\n  aggregator: SAN\n"


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.texts = [], "", {}
        self._open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        self.text += data
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def attributes(self, *names):
        return [value for _, attributes in self.tags for name, value in attributes.items() if name in names]

    @property
    def headings(self):
        return self.texts.get("h2", [])

    @property
    def pictures(self):
        return [pixels(attributes["src"]) for tag, attributes in self.tags if tag == "img"]


def pixels(url):
    """The image of a data URL."""
    assert url.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2], validate=True))) as image:
        return np.asarray(image)


def mistake(pixels, index=0, truth="a", prediction="b", loss=1.0):
    return MisclassifiedImage(pixels, truth, prediction, loss, index)


def picture(number, h=8, w=8, c=1):
    return np.random.default_rng(number).integers(256, size=(h, w, c), dtype=np.uint8)


CONFUSION = np.array([[101, 2, 3], [4, 105, 6], [7, 8, 109]])
NOTHING = np.zeros((0, 0), dtype=np.int64)


@pytest.fixture
def make(tmp_path):
    """Writes a page, of a run that was tested unless told; gives what a browser would see."""

    def make(confusion=CONFUSION, mistakes=(), names=None, config=CONFIG, rows=ROWS, **results):
        names = names or [f"class {i}" for i in range(len(confusion))]
        file = tmp_path / "report.html"
        write_report(file, {**RESULTS, **results}, rows, names, confusion, mistakes, config)
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        return Page(file.read_text(encoding="utf-8"))

    make.file = tmp_path / "report.html"
    return make


SIZES = {"test/accuracy/16x16": 0.25, "test/accuracy/8x12": 0.125, "test/accuracy/100x9": 0.375}
SIZES |= {"test/accuracy/8x8": 0.0625}


def everything(make, **more):
    mistakes = [mistake(picture(i, 8 + i % 3, 10, 1 + 2 * (i % 2)), i) for i in range(32)]
    return make(mistakes=mistakes, metrics={**RESULTS["metrics"], **SIZES}, curves=CURVES, **more)


# Read offline


def test_nothing_is_fetched(make):
    """No link, script, frame, sheet or picture but data in the page itself."""
    page = everything(make)
    links = page.attributes("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "cite")
    assert len(links) > 32
    assert all(link.startswith(("data:", "#")) for link in links)
    text = make.file.read_text()
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)\)", text))
    assert "@import" not in text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed", "base", "form", "audio"})
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not [attributes for tag, attributes in page.tags if attributes.get("http-equiv") == "refresh"]


def test_a_browser_is_told_to_fetch_nothing(make):
    (policy,) = [tag for _, tag in make().tags if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_equal_runs_have_equal_pages_and_others_other_ones(make):
    pages = []
    for seed in (3, 3, 4):
        everything(make, seed=seed)
        pages.append(make.file.read_bytes())
    assert pages[0] == pages[1] != pages[2]


def test_page_is_whole_or_not_there(make, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("os.replace", lambda *_: fail())
        with pytest.raises(OSError, match="No space"):
            make()
    assert not make.file.exists()


def fail():
    raise OSError(28, "No space left on device")


# What stands in it


def test_title(make):
    page = make()
    assert page.texts["title"] == ["SAN, width 77, Digits"]
    assert page.texts["h1"] == ["SAN, width 77, on Digits"]
    assert "Run a run of an experiment: seed 3, 2 epochs." in page.text


def test_table_parameters_environment_config(make):
    page = make()
    for fact in (*ROWS, *ROWS.values(), "55,744", "536", "90", "56,370", *RESULTS["environment"].values()):
        assert fact in page.text
    assert page.texts["pre"] == [CONFIG]


def test_all_chapters(make):
    assert everything(make).headings == [
        *("Learning curves", "Accuracy at each size", "Confusion matrix", "Worst misclassifications"),
        *("Parameters", "Environment", "Configuration"),
    ]


def test_curves_are_drawn(make):
    page = make(curves=CURVES)
    assert page.texts["svg"] != []
    for words in ("epoch", "accuracy", "cross-entropy (nats)", "train", "test", "gap"):
        assert words in page.texts["text"]


def test_no_curves(make):
    page = make()
    assert "svg" not in page.texts
    assert "Not measured: --curves.every_n_epochs is 0." in page.text


def test_accuracy_at_each_size_by_number_of_pixels(make):
    words = make(metrics={**RESULTS["metrics"], **SIZES}).texts["text"]
    sizes = ["8x8", "8x12", "16x16", "100x9"]
    assert [word for word in words if word in sizes] == sizes
    accuracies = [f"{SIZES[f'test/accuracy/{size}']:.3f}" for size in sizes]
    assert [word for word in words if word in accuracies] == accuracies


def test_images_of_one_size(make):
    assert "Accuracy at each size" not in make().headings


# Confusion


def cells(page_text):
    """The rows of the table of confusion."""
    table = re.search(r'<table class="confusion">(.*?)</table>', page_text, re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table[table.index("<tbody>") :], re.DOTALL)
    return [[int(count) for count in re.findall(r">(\d+)</td>", row)] for row in rows]


@pytest.mark.parametrize("num", [2, 3, 30])
def test_all_counts(make, num):
    confusion = np.arange(num**2).reshape(num, num)
    make(confusion, names=[f"class {i}" for i in range(num)])
    assert cells(make.file.read_text()) == confusion.tolist()


def test_shade_is_the_share_of_the_row(make):
    make(np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]]))
    shades = [float(alpha) for alpha in re.findall(r"rgba\([\d, ]+, ([\d.]+)\)", make.file.read_text())]
    assert shades == [0.75, 0.25, 0, 0, 0, 0, 0, 0.5, 0.5]


def test_of_many_classes_the_pairs_most_often_confused(make):
    num = 31
    confusion = np.diag(np.full(num, 1000))
    for i in range(num - 1):
        confusion[i, i + 1] = i + 1
    page = make(confusion)
    assert "Confusion matrix" not in page.headings
    rows = re.findall(r"<tr>(<td>.*?)</tr>", make.file.read_text())
    found = [re.findall(r">([^<>]+)</td>", row) for row in rows]
    expected = [[f"class {i}", f"class {i + 1}", f"{i + 1}", f"{1001 + i}"] for i in reversed(range(num - 1))]
    assert found == expected


def test_of_many_pairs_thirty_and_none_that_was_not_confused(make):
    confusion = np.ones((31, 31), dtype=int)
    make(confusion)
    assert len(re.findall(r"<tr><td>class", make.file.read_text())) == 30
    make(np.diag(np.full(31, 5)))
    assert "<tr><td>class" not in make.file.read_text()


def test_no_test(make):
    page = make(NOTHING, names=["a", "b"], metrics={})
    assert page.headings == ["Learning curves", "Parameters", "Environment", "Configuration"]
    assert page.pictures == []


# Mistakes


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_those_of_the_mistakes(make, channels):
    pictures = [picture(i, 8, 10, channels) for i in range(32)]
    page = make(mistakes=[mistake(pixels, index) for index, pixels in enumerate(pictures)])
    assert len(page.pictures) == 32
    for shown, expected in zip(page.pictures, pictures, strict=True):
        assert np.array_equal(shown, expected.squeeze(2) if channels == 1 else expected)


def test_truth_prediction_loss_index(make):
    page = make(mistakes=[mistake(picture(0), 1234, "cat", "dog", 4.5678), mistake(picture(1), 7)])
    assert page.texts["figcaption"] == ["catdog4.57 · 1234", "ab1.00 · 7"]
    assert [tag["alt"] for name, tag in page.tags if name == "img"] == ["cat", "a"]


def test_size_of_each_where_there_are_several(make):
    mistakes = [mistake(picture(0, 8, 12)), mistake(picture(0, 16, 16))]
    page = make(mistakes=mistakes, metrics=SIZES)
    assert [text[-5:] for text in page.texts["figcaption"]] == ["08x12", "16x16"]


def test_no_mistakes(make):
    page = make()
    assert "Worst misclassifications" in page.headings
    assert page.texts["p"][-1] == "None."


# Names that are no HTML


NASTY = "<script>alert('a')</script>&amp;\"'>"


@pytest.mark.parametrize("num", [2, 31])
def test_names_are_names(make, num):
    names = [NASTY, *(f"class {i}" for i in range(1, num))]
    confusion = np.full((num, num), 3)
    confusion[0, 1] = 10
    mistakes = [mistake(picture(0), 0, NASTY, NASTY)]
    page = make(confusion, mistakes, names, config=NASTY, rows={NASTY: NASTY}, run=NASTY, experiment=NASTY)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script"})
    assert page.texts["pre"] == [NASTY]
    assert page.texts["figcaption"][0].startswith(NASTY + NASTY)
    assert [tag["alt"] for name, tag in page.tags if name == "img"] == [NASTY]
    assert page.text.count(NASTY) >= 7
    assert not [name for _, tag in page.tags for name in tag if name.startswith("on")]


def test_names_of_folders_that_are_no_text(make):
    """As Python has them where the name of a folder is in another encoding."""
    assert "caf" in make(names=[b"caf\xe9".decode(errors="surrogateescape"), "b", "c"]).text


def test_names_in_any_script(make):
    page = make(mistakes=[mistake(picture(0), 0, "žába", "猫")], names=["žába", "猫", "🐸"])
    assert page.texts["figcaption"][0].startswith("žába猫")
