"""What each of the runs of one machine is given of it."""

import pytest

from reproduction import places as module
from reproduction.places import places


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Eight processors, no accelerator, nothing set by a person."""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", *module._MALLOC):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_num_processors", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)


def with_accelerators(monkeypatch, num, visible=None):
    monkeypatch.setattr("torch.cuda.device_count", lambda: num)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(("jobs", "threads"), [(None, ["8"]), (1, ["8"]), (3, ["2"] * 3), (9, ["1"] * 9)])
def test_threads_of_runs_on_a_cpu(jobs, threads):
    found = places(jobs)
    assert [place["OMP_NUM_THREADS"] for place in found] == threads
    assert all("CUDA_VISIBLE_DEVICES" not in place for place in found)
    assert all(module._MALLOC.items() <= place.items() for place in found)


@pytest.mark.parametrize(("jobs", "devices"), [(None, ["0", "1"]), (1, ["0"]), (3, ["0", "1", "0"])])
def test_a_run_has_one_accelerator(monkeypatch, jobs, devices):
    with_accelerators(monkeypatch, 2)
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(jobs)] == devices


def test_only_accelerators_that_this_process_may_use(monkeypatch):
    with_accelerators(monkeypatch, 2, visible="5,GPU-7")
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(None)] == ["5", "GPU-7"]


def test_what_a_person_has_set_stands(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "0")
    assert places(2) == [{"MALLOC_MMAP_THRESHOLD_": str(1 << 32)}] * 2
