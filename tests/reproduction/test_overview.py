import pytest

from reproduction.overview import overview
from reproduction.reading import read
from tests.support.paper_lines import line, write


@pytest.fixture
def rows(tmp_path):
    """The rows below those of the paper for these lines, by the images that they are about."""

    def rows(*lines):
        found = {}
        for images, whose, *values in overview(read(write(tmp_path / "results", lines)).runs).rows:
            if images:
                found[images] = {}
                last = found[images]
            last[whose] = tuple(values)
        return found

    return rows


def test_the_paper_s_numbers(rows):
    found = rows()
    assert found["CIFAR-10"]["paper"] == ("0.659", "0.683", "0.722", "0.720", "0.756")
    mean_of_max = (0.3251 + 0.6409 + 0.7131 + 0.6512 + 0.5325) / 5
    assert found["CIFAR-10, five sizes, trained on the original size only"]["paper"][1] == f"{mean_of_max:.3f}"
    assert len(found) == 6


def test_what_is_not_run(rows):
    found = rows(line())
    assert found["CIFAR-10"]["ours, preset paper, 3 epochs"][0] == "not run"
    assert found["Fashion-MNIST"]["ours"] == ("not run",) * 5
    assert found["Fashion-MNIST, five sizes, trained on all sizes"]["ours"] == (
        "not run",
        "not run",
        "-",
        "-",
        "not run",
    )


def test_ours(rows):
    flatten = line("flatten", 128, accuracy=0.5)
    found = rows(line(accuracy=0.7), line(seed=1, accuracy=0.72), line(size=128, accuracy=0.1), flatten)["CIFAR-10"]
    assert found["ours, preset paper, 3 epochs"][3:] == ("0.500 ± 0.014†", "0.710 ± 0.127")


def test_of_several_sizes_the_mean(rows):
    per_size = {"16x16": 0.5, "24x24": 0.6, "32x32": 0.7, "40x40": 0.65, "48x48": 0.6}
    found = rows(line(train_sizes="all", accuracy=0.9, per_size=per_size), line(train_sizes="original"))
    ours = found["CIFAR-10, five sizes, trained on all sizes"]["ours, preset paper, 3 epochs"]
    assert ours[-1].startswith("0.610")


def test_a_row_for_each_preset_and_number_of_epochs(rows):
    found = rows(line(), line(epochs=1), line(preset="modern"), line(data="digits", epochs=7))
    assert list(found["CIFAR-10"]) == [
        *("paper", "ours, preset paper, 1 epoch", "ours, preset paper, 3 epochs", "ours, preset modern, 3 epochs"),
    ]
