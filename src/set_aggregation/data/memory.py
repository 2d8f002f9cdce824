"""How much memory there is."""

from pathlib import Path

import psutil

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
