"""Initial weights: Glorot's, or those of a checkpoint."""

from collections.abc import Mapping

from torch import Tensor, nn


def glorot_uniform_(module: nn.Module) -> None:
    """Draw the weights of a dense or convolutional layer from Glorot's uniform distribution, and set biases to zero."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def take_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Copy the weights whose name and shape fit, and return a description of each other one."""
    own = module.state_dict()
    left_out = dict.fromkeys(weights.keys() - own.keys(), "not in this model")
    left_out |= {
        name: f"is {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in weights.keys() & own.keys()
        if own[name].shape != weights[name].shape
    }
    fitting = {name: weight for name, weight in weights.items() if name not in left_out}
    if not fitting:
        raise ValueError(f"got init_from with {len(weights)} weights, none of which fits the {type(module).__name__}")
    module.load_state_dict(fitting, strict=False)
    missing = {name: "not in the checkpoint" for name in own if name not in weights}
    return [f"{name} ({reason})" for name, reason in (*sorted(left_out.items()), *missing.items())]
