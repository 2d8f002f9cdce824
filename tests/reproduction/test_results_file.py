"""Lines of results: whole or not there, each once, whoever writes and whenever a writer is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from reproduction.results_file import append, read_results

# Writes lines of some length, each of which it names when it is there; every third is one that others write too.
WRITER = """
import sys
from pathlib import Path
from reproduction.results_file import append

writer, num = sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
input()
for number in range(num):
    who = "all" if number % 3 == 0 else writer
    file = Path(sys.argv[1]) / f"table{2 + number % 2}.jsonl"
    append(file, {"settings": {"who": who, "number": number}, "filling": "x" * 5000})
    print(who, number, flush=True)
"""


def start_writers(folder, names, num):
    """They begin at the same moment."""
    commands = [[sys.executable, "-c", WRITER, str(folder), name, str(num)] for name in names]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen(command, **pipes) for command in commands]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    return writers


def settings_in(folder):
    return [(line["settings"]["who"], line["settings"]["number"]) for line in read_results(folder)]


def line(number, **more):
    return {"settings": {"number": number}, **more}


def test_no_folder_has_no_lines(tmp_path):
    assert read_results(tmp_path / "results") == []


def test_lines_of_all_files(tmp_path):
    assert append(tmp_path / "results" / "b.jsonl", line(1))
    assert append(tmp_path / "results" / "a.jsonl", line(2))
    assert append(tmp_path / "results" / "b.jsonl", line(3))
    assert read_results(tmp_path / "results") == [line(2), line(1), line(3)]


def test_keys_are_sorted_and_each_line_ends(tmp_path):
    append(tmp_path / "a.jsonl", {"z": 1, "settings": {"b": 1, "a": 2}})
    assert (tmp_path / "a.jsonl").read_bytes() == b'{"settings": {"a": 2, "b": 1}, "z": 1}\n'


def test_settings_that_stand_in_another_file_are_left_out(tmp_path):
    append(tmp_path / "table2.jsonl", line(1, value=1))
    assert not append(tmp_path / "figure3.jsonl", line(1, value=2))
    assert read_results(tmp_path) == [line(1, value=1)]


@pytest.mark.parametrize("length", [1, 20, len(json.dumps(line(2, value="abc"))) - 1])
def test_torn_line_does_not_count_and_is_removed(tmp_path, length):
    file = tmp_path / "a.jsonl"
    append(file, line(1))
    with file.open("a") as opened:
        opened.write(json.dumps(line(2, value="abc"))[:length])
    assert read_results(tmp_path) == [line(1)]
    append(file, line(3))
    assert read_results(tmp_path) == [line(1), line(3)]
    assert file.read_text().count("\n") == 2


def test_line_without_its_end_is_kept(tmp_path):
    """An editor may have taken it away."""
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(line(1)))
    assert read_results(tmp_path) == [line(1)]
    append(file, line(2))
    assert read_results(tmp_path) == [line(1), line(2)]


@pytest.mark.parametrize("wrong", ["{", "[1]", '{"settings": 3}', "{}"])
def test_line_that_is_none_is_named(tmp_path, wrong):
    file = tmp_path / "a.jsonl"
    file.write_text(f"{json.dumps(line(1))}\n{wrong}\n")
    with pytest.raises(ValueError, match=r"a\.jsonl with line 2, which is no result; .* mend or remove the line"):
        read_results(tmp_path)


def test_writers_at_the_same_time(tmp_path):
    for writer in start_writers(tmp_path, "abc", 30):
        writer.communicate()
        assert writer.returncode == 0
    expected = {("all" if number % 3 == 0 else name, number) for name in "abc" for number in range(30)}
    assert sorted(settings_in(tmp_path)) == sorted(expected)


def test_writers_that_are_killed(tmp_path):
    draw, said = random.Random(0), set()
    for attempt in range(6):
        writers = start_writers(tmp_path, [f"{attempt}{name}" for name in "ab"], 10_000)
        for writer in writers:
            writer.stdout.readline()
        time.sleep(draw.uniform(0, 0.05))
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            lines = writer.communicate()[0].split("\n")[:-1]
            said |= {(who, int(number)) for who, number in map(str.split, lines)}
    found = settings_in(tmp_path)
    assert len(found) == len(set(found))
    assert said <= set(found)
    for file in tmp_path.glob("*.jsonl"):
        append(file, {"settings": {"who": "end", "number": file.name}})
        assert all(json.loads(text)["filling"] for text in file.read_text().splitlines()[:-1])
