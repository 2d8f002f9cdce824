"""The environment of a measurement: command, commit, devices and versions."""

import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from lightning.pytorch import Trainer

_PACKAGES = ("set-aggregation", "torch", "torchvision", "lightning", "torchmetrics", "numpy")


def environment(devices: str) -> dict[str, str]:
    """Return command, commit, devices, system and versions."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": _commit(),
        "devices": devices,
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
    }


def devices_of(trainer: Trainer) -> str:
    """Describe the devices of a training: number, name, threads and precision."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {processor()}"
    return f"{trainer.world_size} x {name}, {torch.get_num_threads()} threads, precision {trainer.precision}"


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def multiplies_bfloat16() -> bool:
    """Return whether the processor has bfloat16 arithmetic: AVX-512 BF16 or AMX on x86, BF16 on ARM."""
    return any(has for name, has in torch.cpu.get_capabilities().items() if "bf16" in name)


def _commit() -> str:
    """Return the commit of the code if it runs from a clone; changes in ``results/`` do not count."""
    clone = Path(__file__).parents[3]
    if not (clone / ".git").exists():
        return "unknown"  # an installed package; an enclosing repository is another project
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", ".", ":!results"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with changes" if changes else commit
