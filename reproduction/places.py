"""How the processor and the accelerators of a machine are shared out to the runs that are made at one time."""

import os

# Else large temporary tensors are given back to the system after each step, and each page of them is made anew: 49,000
# page faults and 0.25 s of processor time a training step in place of 700 and 0.16 s (SAN with M = 1024, 256 images of
# 32x32, one thread of an AMD EPYC, glibc 2.36, torch 2.15.0).
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


def places(jobs: int | None) -> list[dict[str, str]]:
    """The environment variables of each of the runs that are made at one time; what a person has set stands.

    Args:
        jobs: how many; by default one on each accelerator, or one where there is none.
    """
    devices = _accelerators()
    jobs = jobs or len(devices) or 1
    ours = {"OMP_NUM_THREADS": str(max(1, _num_processors() // jobs)), **_MALLOC}
    shared = {name: value for name, value in ours.items() if name not in os.environ}
    if not devices:
        return [shared] * jobs
    return [{**shared, "CUDA_VISIBLE_DEVICES": devices[job % len(devices)]} for job in range(jobs)]


def _num_processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _accelerators() -> list[str]:
    """The names by which ``CUDA_VISIBLE_DEVICES`` calls those that this process may use."""
    import torch  # takes seconds

    num = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[:num] if given else [str(number) for number in range(num)]
