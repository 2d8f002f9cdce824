"""The private name of Lightning that the models use."""

from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters


def is_built_by_cli() -> bool:
    """Return whether LightningCLI is building a model from class paths and plain values."""
    return _given_hyperparameters.get() is not None
