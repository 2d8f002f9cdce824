"""The dense layer behind the pooling of a network."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from set_aggregation.pooling.inputs import logits_in
from set_aggregation.pooling.trial import Trial


def last_layers(trial: Trial, pooled: Tensor) -> tuple[nn.Module | None, bool, Any]:
    """Return the dense layer that computes the logits, whether only it reads the pooled vectors, and the output."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    kinds = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d

    def record(module: nn.Module, args: tuple[Any, ...], y: Tensor) -> None:
        calls.append((module, args[0].flatten(1), y.flatten(1)))

    with ExitStack() as hooks:
        for module in trial.model.modules():  # without reparametrized ones
            if isinstance(module, kinds) and "weight" in dict(module.named_parameters(recurse=False)):
                hooks.callback(module.register_forward_hook(record).remove)
        output = trial.run()
    logits = logits_in(output)
    readers = [module for module, x, _ in calls if torch.equal(x, pooled)]
    writers = [module for module, _, y in calls if logits is not None and torch.equal(y, logits.flatten(1))]
    last = writers[0] if len(writers) == 1 and [module for module, _, _ in calls].count(writers[0]) == 1 else None
    return last, last is not None and readers == [last], output


def dense_like(before: Any, in_features: int | None, out_features: int | None) -> nn.Module:
    """Return a dense layer with the class and bias option of another one; ``nn.Identity`` for no outputs."""
    if out_features == 0:
        return nn.Identity()
    bias = getattr(before, "bias", True) is not None
    if isinstance(before, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return type(before)(in_features or before.in_channels, out_features or before.out_channels, 1, bias=bias)
    return nn.Linear(in_features or before.in_features, out_features or before.out_features, bias=bias)


def swap(model: nn.Module, old: nn.Module | None, new: nn.Module | None) -> None:
    """Replace a module under all of its names."""
    for name in [name for name, module in model.named_modules(remove_duplicate=False) if module is old]:
        model.set_submodule(name, new)  # type: ignore[arg-type]


def declare(model: nn.Module, num_classes: int | None, classifier: str | None, in_features: int) -> None:
    """Set the number of classes that a model declares, and timm's ``reset_classifier``."""
    if num_classes is not None:
        for holder in (model, getattr(model, "config", None)):
            for name in ("num_classes", "num_labels"):
                if isinstance(getattr(holder, name, None), int):
                    setattr(holder, name, num_classes)
    if hasattr(model, "reset_classifier"):
        # A partial of the model instead of a closure, so that a copy of the model refers to the copy.
        model.reset_classifier = partial(_reset_classifier, model, classifier, in_features)  # type: ignore[assignment]


def _reset_classifier(
    model: nn.Module, name: str | None, in_features: int, num_classes: int, global_pool: str | None = None
) -> None:
    """Replace the classifier after the aggregator, like timm's method of this name."""
    if global_pool is not None:
        raise ValueError(f"reset_classifier: got global_pool={global_pool!r}, expected None; build the model anew")
    if name is None:
        kind = type(model).__name__
        raise ValueError(f"reset_classifier: got a {kind} whose logits are not those of one dense layer")
    weight = next(model.parameters())
    new = dense_like(model.get_submodule(name), in_features, num_classes).to(weight.device, weight.dtype)
    model.set_submodule(name, new.train(model.training))
    model.num_classes = num_classes  # type: ignore[assignment]
