"""Where and with what something was measured."""

import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("set-aggregation", "torch", "torchvision", "lightning", "torchmetrics", "numpy")


def environment_with(devices: str) -> dict[str, str]:
    """Command, commit, devices, system and versions.

    Args:
        devices: what computed.
    """
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": _commit(),
        "devices": devices,
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
    }


def processor() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    """The commit of the code, where it is run from a clone; what runs write into ``results/`` changes no code."""
    clone = Path(__file__).parents[3]
    if not (clone / ".git").exists():
        return "unknown"  # an installed package; a repository around it has nothing to say
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", ".", ":!results"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with changes" if changes else commit
