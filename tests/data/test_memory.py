"""How much memory there is: what the machine has free, and what a container may take."""

from types import SimpleNamespace

import psutil
import pytest

from set_aggregation.data import in_memory
from set_aggregation.data.in_memory import available_memory

FREE = 1000


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """A machine with 1,000 bytes free, and a function that writes the files of its container."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=FREE, total=8 * FREE, free=1))
    monkeypatch.setattr(in_memory, "_CGROUP", tmp_path)

    def write(**files):
        for name, content in files.items():
            (tmp_path / f"memory.{name}").write_text(f"{content}\n")

    return write


def stat(inactive_file):
    """As Linux writes it, with lines that look alike."""
    return f"anon 7\nfile 11\ninactive_anon 13\ntotal_inactive_file 17\ninactive_file {inactive_file}\nactive_file 19"


def test_without_a_container_it_is_what_is_free(cgroup):
    assert available_memory() == FREE


@pytest.mark.parametrize(
    ("limit", "used", "reclaimable", "expected"),
    [
        (600, 200, 0, 400),
        (600, 200, 50, 450),  # the kernel gives up copies of files before it ends a process
        (600, 600, 0, 0),
        (5000, 200, 0, FREE),
        (5000, 4500, 100, 600),
    ],
)
def test_the_container_or_the_machine_whichever_leaves_less(cgroup, limit, used, reclaimable, expected):
    cgroup(max=limit, current=used, stat=stat(reclaimable))
    assert available_memory() == expected


def test_a_container_without_a_limit(cgroup):
    cgroup(max="max", current=200, stat=stat(50))
    assert available_memory() == FREE


@pytest.mark.parametrize("missing", ["max", "current", "stat"])
def test_a_file_is_missing(cgroup, tmp_path, missing):
    cgroup(max=600, current=200, stat=stat(50))
    (tmp_path / f"memory.{missing}").unlink()
    assert available_memory() == FREE


@pytest.mark.parametrize("name", ["max", "current", "stat"])
@pytest.mark.parametrize("content", ["", "inactive_anon 13", "inactive_file many", "?"])
def test_a_file_says_something_else(cgroup, name, content):
    cgroup(**{**{"max": 600, "current": 200, "stat": stat(50)}, name: content})
    assert available_memory() == FREE


def test_this_machine_has_some():
    assert 0 < available_memory() <= psutil.virtual_memory().total
