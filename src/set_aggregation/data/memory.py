"""How much memory there is, here and on accelerators."""

from pathlib import Path

import psutil
import torch

_CGROUP = Path("/sys/fs/cgroup")  # version 2, as a container sees its own


def available_memory() -> int:
    """The bytes that this process can still take without swapping, or being ended by its container's limit."""
    available: int = psutil.virtual_memory().available
    try:
        limit, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        reclaimable = next(
            int(line.split()[1])
            for line in (_CGROUP / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
        return min(available, int(limit) - int(used) + reclaimable)
    except (OSError, ValueError, StopIteration):  # no cgroup, or one without a limit ("max")
        return available


def free_memory(device: torch.device) -> int:
    """The bytes that are free on an accelerator; 0 where it does not say.

    Args:
        device: an accelerator.
    """
    try:
        free, _ = torch.accelerator.get_memory_info(device)
    except (RuntimeError, ValueError):
        return 0
    return free
