"""Silences what other libraries say to everyone, by exact message; all else is still heard."""

import logging
import warnings

_ADVERTISEMENTS = ("💡 Tip: For seamless cloud ",)
_HARMLESS = (
    # Batches come from memory by indexing: workers would only copy them.
    r"The '\w+_dataloader' does not have many workers which may be a bottleneck\.",
    # The folder was made for this run a moment ago and holds its config.yaml.
    r"Experiment logs directory .* exists and is not empty\.",
)


def silence_advertisements() -> None:
    """Takes advertisements and known-harmless warnings out of the output."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_ADVERTISEMENTS)
