"""Filters for messages of other libraries that do not apply here; all others are shown."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ADVERTISEMENT = "💡 Tip: For seamless cloud "
_HARMLESS = (
    # Batches are indexed in memory: workers would only copy them.
    r"The '\w+_dataloader' does not have many workers which may be a bottleneck\.",
    # The run folder is new and has only config.yaml.
    r"Experiment logs directory .* exists and is not empty\.",
    # A resumed run keeps its folder.
    r"Checkpoint directory .* exists and is not empty\.",
    # A run that starts from another run's checkpoint has its own folder.
    r"The dirpath has changed from ",
    # The data module resumes in mid-epoch; Lightning checks the loader only.
    r"You're resuming from a checkpoint that ended before the epoch ended and your dataloader is not resumable",
    # Only fit keeps checkpoints.
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided",
    # Shown outside of jobs on every machine with SLURM.
    r"The `srun` command is available on your system but is not used\.",
    # Between Lightning and torch.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated, use ",
)
_LIGHTNING = ("lightning.pytorch", "lightning.fabric")


def silence_libraries() -> None:
    """Hide advertisements, harmless warnings and Lightning's messages before training."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not record.getMessage().startswith(_ADVERTISEMENT)
    )
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    _set_level(logging.WARNING)


@contextmanager
def lightning_messages() -> Iterator[None]:
    """Show Lightning's messages (devices, processes, reason of the end), which before training would hide an error."""
    _set_level(logging.INFO)
    try:
        yield
    finally:
        _set_level(logging.WARNING)


def _set_level(level: int) -> None:
    for name in _LIGHTNING:
        logging.getLogger(name).setLevel(level)
