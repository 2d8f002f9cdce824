"""How much memory there is: what the machine has free, and what a container may take."""

from types import SimpleNamespace

import psutil
import pytest

from set_aggregation.data.in_memory import available_memory

FREE, USED = 1000, 200


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, FREE), ("max", FREE), ("", FREE), ("600", 400), ("100", 0), ("5000", FREE)]
)
def test_the_container_or_the_machine_whichever_leaves_less(tmp_path, monkeypatch, limit, expected):
    memory = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=USED))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=FREE))
    monkeypatch.setattr(psutil, "Process", lambda: memory)
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit + "\n")
    assert available_memory(tmp_path / "memory.max") == expected


def test_this_machine_has_some():
    assert 0 < available_memory() <= psutil.virtual_memory().total
