"""Filters for messages of other libraries that do not apply here; all others are shown."""

import logging
import warnings

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


def silence_libraries() -> None:
    """Hide advertisements, harmless warnings and Lightning's messages before training."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not record.getMessage().startswith(_ADVERTISEMENT)
    )
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    set_lightning_level(logging.WARNING)


def set_lightning_level(level: int) -> None:
    """Set which of Lightning's messages are shown, such as devices, processes and the reason of the end."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(level)
