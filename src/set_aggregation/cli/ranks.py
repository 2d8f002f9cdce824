"""Agreement of the ranks before Lightning connects them, and the end of their process group."""

import json
import os
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Trainer

_VARIABLE = "SAN_RANK_ZERO_VALUE"


def broadcast_from_rank_zero(value: Any, trainer: Trainer) -> Any:
    """Return the value of rank 0 on all ranks. Each rank calls it once, before ``Trainer.fit``."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.world_size == 1 or environment is None:
        return value
    if trainer.is_global_zero and not environment.creates_processes_externally:
        os.environ[_VARIABLE] = json.dumps(value)  # for the ranks that Lightning is about to start
        return value
    if _VARIABLE in os.environ:
        return json.loads(os.environ[_VARIABLE])
    trainer.strategy.setup_environment()  # Lightning skips it later
    return trainer.strategy.broadcast(value)


def disconnect() -> None:
    """Destroy the process group, once all ranks are done.

    Otherwise a rank may end by SIGABRT (PyTorch pull request 179291), and torchrun elsewhere waits minutes for it.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def is_peer_failure(error: RuntimeError) -> bool:
    """Return whether an error was raised because another rank has ended."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "closed by peer" in str(error)
