"""The state of the random-number generators of a training."""

import random
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of Python's, NumPy's and PyTorch's generators, on CPU and on one accelerator."""
    version, words, gauss = random.getstate()
    name, keys, *more = np.random.get_state(legacy=True)  # noqa: NPY002 - transforms of users draw from it
    state = {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *more],
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore all generators."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *more = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *more))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if device.type != "cpu" and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type].cpu())


def seed_for(seed: int, *key: int) -> None:
    """Seed all generators with an independent stream of a seed, for example one for each rank."""
    words = np.random.SeedSequence((seed, *key)).generate_state(2, np.uint64).tolist()
    random.seed(words[0])
    np.random.seed(words[0] % 2**32)  # noqa: NPY002
    torch.manual_seed(words[1] % 2**63)  # also of all accelerators
