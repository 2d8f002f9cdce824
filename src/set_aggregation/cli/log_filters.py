"""Silences what other libraries say to everyone, by exact message; all else is still heard."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ADVERTISEMENTS = ("💡 Tip: For seamless cloud ",)
_HARMLESS = (
    # Batches come from memory by indexing: workers would only copy them.
    r"The '\w+_dataloader' does not have many workers which may be a bottleneck\.",
    # The folder was made for this run a moment ago and holds its config.yaml.
    r"Experiment logs directory .* exists and is not empty\.",
    # A run goes on in its folder.
    r"Checkpoint directory .* exists and is not empty\.",
    # Each run has a folder of its own, one that goes on from a checkpoint of another too.
    r"The dirpath has changed from ",
    # The data module goes on in mid-epoch; Lightning looks at the loader only.
    r"You're resuming from a checkpoint that ended before the epoch ended and your dataloader is not resumable",
    # Only fit keeps checkpoints.
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided",
    # Said outside of jobs only, on every machine that has SLURM.
    r"The `srun` command is available on your system but is not used\.",
    # Between Lightning and torch.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated, use ",
)
_LIGHTNING = ("lightning.pytorch", "lightning.fabric")


def silence_advertisements() -> None:
    """Takes advertisements, known-harmless warnings and Lightning's news before training out of the output."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    for name in _LIGHTNING:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def lightning_news() -> Iterator[None]:
    """Lightning says what it does (devices, processes, why it stopped); before, a mistake would drown in it."""
    for name in _LIGHTNING:
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        for name in _LIGHTNING:
            logging.getLogger(name).setLevel(logging.WARNING)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_ADVERTISEMENTS)
