"""Lines of results: reading, appending, checking."""

import json
import multiprocessing

import pytest

from reproduction.records import append, key_of, keys, measure, read
from tests.support.paper_lines import line, theory, write


def test_equal_settings_have_one_key():
    one, other = ({"dropout": dropout, "overrides": {"a": dropout}, "size": 8} for dropout in (0, 0.0))
    assert key_of(one) == key_of(dict(reversed(other.items())))
    assert key_of(one) != key_of({**one, "size": 9})
    assert key_of({"normalize": True}) != key_of({"normalize": 1})


def test_appended_line_is_read(tmp_path):
    assert append(tmp_path / "results" / "a.jsonl", line("max", seed=1))
    assert append(tmp_path / "results" / "b.jsonl", line("max", seed=2))
    runs = read(tmp_path / "results").runs
    assert list(runs["place"]) == ["a:1", "b:1"]
    assert list(runs["best"]) == [0.7, 0.7]


@pytest.mark.parametrize("dropout", [0, 0.0])
def test_run_is_appended_once_in_all_files(tmp_path, dropout):
    assert append(tmp_path / "a.jsonl", line(dropout=0.0))
    assert not append(tmp_path / "b.jsonl", line(dropout=dropout))
    assert not (tmp_path / "b.jsonl").exists()


def test_last_line_without_newline_counts_everywhere(tmp_path):
    """As an editor leaves it: three lines for the runner, the report and the next append."""
    write(tmp_path, [line(seed=seed) for seed in range(3)])
    file = tmp_path / "table2.jsonl"
    file.write_text(file.read_text().rstrip("\n"))
    assert len(keys(tmp_path)) == len(read(tmp_path).runs) == 3
    assert not append(file, line(seed=2))
    assert append(file, line(seed=3))
    assert [json.loads(text)["settings"]["seed"] for text in file.read_text().splitlines()] == [0, 1, 2, 3]


def test_two_lines_of_one_run_are_refused(tmp_path):
    write(tmp_path, [line(dropout=0.0)], "a")
    write(tmp_path, [line(dropout=0)], "b")
    with pytest.raises(ValueError, match="a:1 again in b:1"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{}", '{"settings": 3}', "no JSON"])
def test_no_result_is_named(tmp_path, text):
    write(tmp_path, [line()])
    (tmp_path / "table2.jsonl").write_text(f"{json.dumps(line())}\n{text}\n")
    for call in (read, keys):
        with pytest.raises(ValueError, match=r"line 2 of .*table2\.jsonl"):
            call(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("settings.size", "8"), ("settings.seed", None), ("test_accuracy.best", float("nan"))],
)
def test_line_of_another_schema_is_refused(tmp_path, name, value):
    wrong = line()
    group, _, last = name.partition(".")
    wrong[group][last] = value
    write(tmp_path, [wrong])
    with pytest.raises(ValueError, match=f"got {last} .* in table2:1"):
        read(tmp_path)


def test_measurement_without_its_value_is_refused(tmp_path):
    write(tmp_path, [theory("remark1", {"largest": 1.0}, p=1, seed=0)])
    with pytest.raises(ValueError, match="got difference None"):
        read(tmp_path)


def test_columns(tmp_path):
    several = line(train_sizes="all", per_size={"16x16": 0.5, "32x32": 0.7}, overrides={"reduction": "mean"})
    write(tmp_path, [several, line(parameters=40), theory("remark1", {"difference": 1.0}, p=1, seed=0)])
    results = read(tmp_path)
    assert list(results.runs["train_sizes"]) == ["all", ""]
    assert list(results.runs["overrides"]) == ['{"reduction": "mean"}', "{}"]
    assert results.runs["sizes"][0] == {"16x16": 0.5, "32x32": 0.7}
    assert results.runs["parameters"][1] == 80
    assert list(results.measurements["difference"]) == [1.0]


def test_empty_folder(tmp_path):
    results = read(tmp_path)
    assert results.runs.empty
    assert {"best", "preset", "curves", "place"} <= set(results.runs)
    assert results.measurements.empty


def _append_some(folder, start):
    for seed in range(start, start + 4):
        append(folder / f"{start % 2}.jsonl", line(seed=seed))


@pytest.mark.slow
def test_writers_at_the_same_time_write_each_run_once(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_some, args=(tmp_path, start)) for start in (0, 2, 3, 5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(read(tmp_path).runs["seed"]) == list(range(9))


def test_measurements_are_made_once(tmp_path, capsys):
    calls = []

    def measurements(number):
        return [
            ({"experiment": "remark1", "p": p, "seed": 0}, lambda p=p: calls.append(p) or {"difference": p})
            for p in range(number)
        ]

    for number in (2, 3):
        measure(measurements(number), tmp_path / "theory.jsonl", {"devices": "cpu"})
    assert calls == [0, 1, 2]
    assert list(read(tmp_path).measurements["difference"]) == [0, 1, 2]
