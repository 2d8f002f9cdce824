"""What is said of a model that has no place for an aggregator."""

from torch import nn


def refusal(model: nn.Module, got: str) -> str:
    """The line that says why a model is left as it is.

    Args:
        model: the model.
        got: what it has or does, as a relative clause.
    """
    return (
        f"got a {type(model).__name__} {got}; expected a network that pools a feature map or tokens and classifies by "
        "a last dense layer; call the aggregator in its own forward instead"
    )


def first_line(error: Exception) -> str:
    """What an error says, or which it is."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
