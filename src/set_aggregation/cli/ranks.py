"""What the first rank has found out, told to the others before Lightning connects them."""

import json
import os
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Trainer

_VARIABLE = "SAN_TOLD_BY_FIRST_RANK"


def broadcast_from_rank_zero(value: Any, trainer: Trainer) -> Any:
    """Gives what the first rank says, on all ranks. Before ``fit``; each rank calls it once.

    Args:
        value: of plain values, as JSON has them; what other ranks say is not looked at.
        trainer: of any strategy.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.world_size == 1 or environment is None:
        return value
    if trainer.is_global_zero and not environment.creates_processes_externally:
        os.environ[_VARIABLE] = json.dumps(value)  # for the ranks that it is about to start
        return value
    if _VARIABLE in os.environ:
        return json.loads(os.environ[_VARIABLE])
    trainer.strategy.setup_environment()  # which Lightning finds done, then
    return trainer.strategy.broadcast(value)


def disconnect() -> None:
    """Ends what connects the ranks, once all of them are done.

    Without that a rank may end by SIGABRT, and torchrun on other machines wait five minutes for its own: a thread of
    gloo that still holds a tensor asks for Python's lock to let go of it, which cannot be had while Python ends (pull
    request 179291 of PyTorch).
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def is_peer_failure(error: RuntimeError) -> bool:
    """Whether an error says that another rank is not there any more.

    Args:
        error: of a collective operation of gloo or NCCL, or any other.
    """
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "closed by peer" in str(error)
