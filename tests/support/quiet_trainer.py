"""A real Trainer that writes and prints nothing."""

from lightning.pytorch import Trainer


def quiet_trainer(folder, **arguments):
    """On the CPU; the data modules share out the data themselves, as under the command line."""
    return Trainer(
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **arguments,
    )
