"""How the processor and the accelerators of a machine are shared out to the runs that are made at one time."""

import os

# Else SAN's large temporary tensors are given back to the system after each step, and each page of them is made anew.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


def places(jobs: int | None) -> list[dict[str, str]]:
    """The environment variables of each of the runs that are made at one time.

    Args:
        jobs: how many; by default one on each accelerator, or one where there is none.
    """
    devices = _accelerators()
    jobs = jobs or len(devices) or 1
    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    found = []
    for job in range(jobs):
        variables = {"OMP_NUM_THREADS": threads, **_MALLOC}
        if devices:
            variables["CUDA_VISIBLE_DEVICES"] = devices[job % len(devices)]
        found.append(
            {name: os.environ.get(name, value) if name in _MALLOC else value for name, value in variables.items()}
        )
    return found


def _accelerators() -> list[str]:
    """The names by which ``CUDA_VISIBLE_DEVICES`` calls those that this process may use."""
    import torch  # takes seconds

    num = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[:num] if given else [str(number) for number in range(num)]
