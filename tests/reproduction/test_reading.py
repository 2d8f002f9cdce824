import json

import pytest

from reproduction.reading import read
from tests.support.paper_lines import line, theory, write


def test_no_folder_and_no_lines(tmp_path):
    for folder in (tmp_path / "results", write(tmp_path / "results", [])):
        assert read(folder).runs == read(folder).measurements == ()


def test_a_run_and_a_measurement(tmp_path):
    write(tmp_path, [line(accuracy=0.5, seed=3)])
    write(tmp_path, [theory("remark1", {"difference": 0.25}, p=10, seed=1)], "theory")
    (run,), (measurement,) = (results := read(tmp_path)).runs, results.measurements
    assert (run.place, run.seed, run.split, run.test_accuracy["best"]) == ("table2:1", 3, "paper", 0.5)
    assert [row["epoch"] for row in run.curves] == [1, 2, 3]
    assert (measurement.place, measurement.settings["p"], measurement.measured) == (
        "theory:1",
        10,
        {"difference": 0.25},
    )


def test_keys_that_nobody_knows_are_passed_over(tmp_path):
    write(tmp_path, [line(novelty={"a": [1]}), theory("theorem9", {"anything": "text"}, seed=0)])
    assert (len(read(tmp_path).runs), len(read(tmp_path).measurements)) == (1, 1)


def test_a_line_that_is_still_being_written_does_not_count(tmp_path):
    file = write(tmp_path, [line(seed=0), line(seed=1)]) / "table2.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    assert [run.seed for run in read(tmp_path).runs] == [0]


def test_a_loss_that_is_no_number_is_no_error(tmp_path):
    diverged = line()
    diverged["curves"][-1]["train_loss"] = float("nan")
    assert "train_loss" not in read(write(tmp_path, [diverged])).runs[0].curves[-1]


def without(name):
    return {key: value for key, value in line().items() if key != name}


def changed(part, **values):
    whole = line()
    return {**whole, part: {**whole[part], **values}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (7, "got '7', expected a JSON object"),
        (without("settings"), "got settings None, expected a mapping"),
        (changed("settings", seed=1.5), "got seed 1.5 and epochs 3, expected whole numbers"),
        ({**line(), "settings": {"preset": "paper"}}, "got settings without data, expected preset, data, backbone"),
        (changed("test_accuracy", best=float("nan")), "got best nan, expected a finite number"),
        (without("test_accuracy"), "got test_accuracy None"),
        (without("seconds"), "got seconds None, expected a finite number"),
        ({**line(), "curves": [1]}, r"got curves \[1\], expected a list"),
        ({**line(), "curves": [{"epoch": 1}]}, "got train_accuracy None"),
        ({**line(), "environment": "laptop"}, "got environment laptop, expected a mapping"),
        (theory("theorem1", {"error": 1.0}, seed=0), "got settings without elements"),
        (theory("remark1", {}, p=1, seed=0), "got difference None"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, wrong, message):
    write(tmp_path, [line(seed=9), wrong], "table4")
    with pytest.raises(ValueError, match=f"{message}.*in line 2 of .*table4.jsonl; mend or remove the line"):
        read(tmp_path)


def test_text_that_is_no_json(tmp_path):
    (tmp_path / "table2.jsonl").write_text("{oops\n")
    with pytest.raises(ValueError, match=r"got '{oops', expected a JSON object, in line 1"):
        read(tmp_path)


@pytest.mark.parametrize("file", ["table2", "figure3"])
def test_two_lines_of_one_run_are_an_error_that_names_them(tmp_path, file):
    again = json.loads(json.dumps(line(seed=1, accuracy=0.9)))
    again["settings"]["dropout"] = 0  # which is 0.0
    lines = [line(seed=0), line(seed=1)]
    if file == "table2":
        write(tmp_path, [*lines, again])
    else:
        write(tmp_path, lines)
        write(tmp_path, [again], "zzz")
    second = "table2:3" if file == "table2" else "zzz:1"
    with pytest.raises(ValueError, match=f"got the settings of table2:2 again in {second} .*remove one of them"):
        read(tmp_path)
